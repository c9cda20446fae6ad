"""TinyLM: your own text and chats in, a chat model on a Raspberry Pi out."""

from pathlib import Path

__version__ = "0.1.0"

_root = Path(__file__).parent.parent
if (_root / "pyproject.toml").is_file() and (_root / "cli" / "main.py").is_file():
    # In the source tree the folders beside this one are its subpackages, so that one version is imported, never two
    __path__.append(str(_root))
