"""Import pre-trained models: a Hugging Face folder or a GGUF file becomes a run.

What is read here is a stranger's. No program in it is run and no pickle is loaded, every size is checked before room is
made for it, and what does not fit is refused in a line that names the key.

Files:
    importer.py                   `import_model`: from files to a run
    source.py                     what a model consists of, whatever file it comes from
    huggingface.py                a Hugging Face folder
    gguf_model.py                 a model in a GGUF file
    gguf_file.py                  the GGUF file: header and tensors
    keys.py                       values of a foreign configuration, checked
    weights.py                    from tensors to a checkpoint, one at a time
    byte_level.py                 byte-level tokenizers
    sentencepiece_vocabulary.py   SentencePiece tokenizers
    templates.py                  chat templates, recognized and not run
    symbols.py                    choose the chat format
"""

from tinylm.importing.importer import ImportedRun as ImportedRun
from tinylm.importing.importer import import_model as import_model
