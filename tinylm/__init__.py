"""TinyLM: your own text and chats in, a chat model on a Raspberry Pi out."""

from pkgutil import extend_path

# The rooms (`tinylm.cli`, `tinylm.data`, …) live in sibling folders of the source tree and are mapped in by the
# installation. Run from the root of the source tree, Python finds this folder first: look for the rooms elsewhere too.
__path__ = extend_path(__path__, __name__)

__version__ = "0.1.0"
