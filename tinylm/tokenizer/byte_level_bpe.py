"""Byte-level BPE, the kind of GPT-2, SmolLM2, Llama 3 and Qwen, by Hugging Face's tokenizers.

Its pieces are bytes, so decoding is exact. Of a text is lost what the model's own program loses: what its normalizer
changes, as Qwen's does to what is not in Unicode's form NFC; and bytes that its vocabulary has no token for, as that of
SmolLM2 has none for U+0004 and for characters from U+40000 on. The package is an extra, imported when it is needed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

from tinylm.chat_format import ChatFormat
from tinylm.errors import TinyLMError
from tinylm.installation import install_command
from tinylm.tokenizer.interface import Tokenizer, encodable, parts_of

_SPACE = "\u2581"
_NEEDED = (0x0A, *range(0x20, 0x7F))
# No token reaches over the end of a line between two words
_LINE_BEFORE_WORD = re.compile(r"\w\n(?=[A-Za-z])")
# Characters of text that one may become by Unicode's composition
_COMPOSED = 4


class ByteLevelTokenizer(Tokenizer):
    """A tokenizer from `tokenizer.json`.

    Args:
        model: the content of the file.
        chat_format: how its ids become documents and conversations.

    Raises:
        TinyLMError: tokenizers is not installed, or the bytes are no byte-level BPE.
    """

    file_name = "tokenizer.json"
    kind = "ByteLevelBPE"

    def __init__(self, model: bytes, chat_format: ChatFormat) -> None:
        self._model = model
        self._encoder = read_tokenizer_json(model)
        # Text never becomes one of the special tokens
        self._encoder.encode_special_tokens = True
        self._encoder.no_padding()
        self._encoder.no_truncation()
        added = self._encoder.get_added_tokens_decoder()
        self._added: dict[int, str] = {id_: token.content for id_, token in added.items()}
        self._byte_ids: list[int | None] = [self._encoder.token_to_id(symbol) for symbol in _SYMBOLS]
        if any(self._byte_ids[byte] is None for byte in _NEEDED):
            raise TinyLMError("not a byte-level BPE: not every ASCII character has a token")
        control = [id_ for id_, token in added.items() if token.special]
        super().__init__(self._encoder.get_vocab_size(), chat_format, control)

    def __reduce__(self) -> tuple[Any, ...]:
        return ByteLevelTokenizer, (self._model, self.chat_format)

    def serialized(self) -> bytes:
        """The content of `tokenizer.json`."""
        return self._model

    def piece_of(self, id_: int) -> str:
        """The piece string of an id, in the form of SentencePiece's: U+2581 for a space, and `<0xC3>` for a byte."""
        if id_ in self.control:
            return self._added[id_]
        data = self.bytes_of(id_)
        try:
            return data.decode("utf-8").replace(" ", _SPACE)
        except UnicodeDecodeError:
            return "".join(f"<0x{byte:02X}>" for byte in data)

    def encode_batch(self, texts: Sequence[str], threads: int = 1) -> list[list[int]]:
        """Token ids of many texts, equal to `encode` of each."""
        clean = [encodable(text) for text in texts]
        if threads > 1 and len(clean) > 1:
            with ThreadPoolExecutor(threads) as pool:
                return list(pool.map(self._encode, clean))
        return [self._encode(text) for text in clean]

    def _encode(self, text: str) -> list[int]:
        parts = parts_of(text, _LINE_BEFORE_WORD)
        encoded = self._encoder.encode_batch_fast(parts, add_special_tokens=False)
        ids: list[int] = list(chain.from_iterable(part.ids for part in encoded))
        if self.control.isdisjoint(ids):
            return ids
        # A vocabulary may hold a special token as an ordinary word too
        return [part for id_ in ids for part in (self._spelled(id_) if id_ in self.control else (id_,))]

    def _spelled(self, id_: int) -> list[int]:
        ids = (self._byte_ids[byte] for byte in self._added[id_].encode())
        return [one for one in ids if one is not None]

    def _look_up_bytes(self, id_: int) -> bytes:
        if id_ in self._added:
            return self._added[id_].encode()
        piece: str | None = self._encoder.id_to_token(id_)
        try:
            return bytes(_BYTES[symbol] for symbol in piece or "")
        except KeyError:
            return b""

    def _characters_of_a_token(self) -> int:
        longest = max(map(len, self._encoder.get_vocab()))
        return longest if self._encoder.normalizer is None else longest * _COMPOSED


def read_tokenizer_json(content: bytes) -> Any:
    """Read a `tokenizer.json`.

    Returns:
        a `tokenizers.Tokenizer`.

    Raises:
        TinyLMError: tokenizers is not installed, or cannot read it.
    """
    # What encodes many texts here has threads of its own
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        from tokenizers import Tokenizer as Encoder
    except ImportError:
        raise TinyLMError(f"needs the package tokenizers: {install_command('hf')}") from None
    try:
        return Encoder.from_str(content.decode("utf-8"))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001 - the library raises plain exceptions, and panics that are none
        raise TinyLMError("not a tokenizer.json that tokenizers can read") from None


def _byte_symbols() -> list[str]:
    """The character that stands for each byte in the pieces: GPT-2's, itself where it is printable."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(0x100)]


_SYMBOLS = _byte_symbols()
_BYTES = {symbol: byte for byte, symbol in enumerate(_SYMBOLS)}
