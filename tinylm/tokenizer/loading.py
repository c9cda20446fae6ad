"""The right kind of tokenizer for a file."""

from __future__ import annotations

from os import PathLike, fspath
from pathlib import Path

from tinylm.chat_format import ChatFormat
from tinylm.errors import TinyLMError
from tinylm.tokenizer.byte_level_bpe import ByteLevelTokenizer
from tinylm.tokenizer.interface import Tokenizer
from tinylm.tokenizer.sentencepiece_bpe import SentencePieceTokenizer


def load_tokenizer(path: str | PathLike[str], chat_format: ChatFormat | None = None) -> Tokenizer:
    """Read a tokenizer's file: `tokenizer.model`, or `tokenizer.json` with a format.

    Args:
        path: the file.
        chat_format: of an imported model; None: TinyLM's own.

    Raises:
        TinyLMError: the file cannot be read, holds no tokenizer, or one that needs a package that is missing.
    """
    try:
        content = Path(path).read_bytes()
        if Path(path).suffix == ".json" and chat_format is not None:
            return ByteLevelTokenizer(content, chat_format)
        return SentencePieceTokenizer(content, chat_format)
    except OSError as error:
        raise TinyLMError(f"{fspath(path)}: cannot be read ({error.strerror})") from None
    except TinyLMError as error:
        raise TinyLMError(f"{fspath(path)}: {error}") from None
