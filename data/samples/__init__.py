"""Small files of every form that TinyLM reads."""
