"""What every tokenizer does, and decoding as tokens are generated."""

from __future__ import annotations

import codecs
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

from tinylm.chat_format import ROLES, ChatFormat, Role
from tinylm.errors import TinyLMError

# Tokenizers need some hundred bytes of memory for each byte of a text
_PART_CHARACTERS = 1 << 16
_SURROGATES = re.compile("[\ud800-\udfff]")


class Tokenizer(ABC):
    """Text to token ids and back.

    Args:
        vocab_size: number of ids.
        chat_format: how its ids become documents and conversations.
        control: ids of the control symbols, which have no text.

    Attributes:
        file_name: name of its file in a run and in a bundle.
        kind: name of the kind.
        vocab_size, chat_format, control: as given.

    Raises:
        TinyLMError: the format has an id that is not in the vocabulary, or one for which text could stand.
    """

    file_name: ClassVar[str]
    kind: ClassVar[str]

    def __init__(self, vocab_size: int, chat_format: ChatFormat, control: Iterable[int]) -> None:
        self.vocab_size, self.chat_format, self.control = vocab_size, chat_format, frozenset(control)
        wrong = next((id_ for id_ in sorted(chat_format.markers) if not 0 <= id_ < vocab_size), None)
        if wrong is not None:
            raise TinyLMError(f"its chat format has the id {wrong}, but the vocabulary {vocab_size:,} ids")
        forgeable = {chat_format.bos, chat_format.eos, *chat_format.ends} - self.control
        if forgeable:
            raise TinyLMError(f"its chat format takes id {min(forgeable)} for a control symbol, but it is text")
        # Filled on demand: all of a large vocabulary would delay the first token of a reply
        self._bytes: dict[int, bytes] = {}
        self._texts: dict[int, str | None] = {}
        self._longest_piece = 0

    @abstractmethod
    def serialized(self) -> bytes:
        """The content of its file."""

    @abstractmethod
    def piece_of(self, id_: int) -> str:
        """The piece string of an id: U+2581 for a space, `<0xC3>` for a byte that is no character."""

    @abstractmethod
    def encode_batch(self, texts: Sequence[str], threads: int = 1) -> list[list[int]]:
        """Token ids of many texts, equal to `encode` of each.

        Args:
            texts: of any length.
            threads: that encode.
        """

    @abstractmethod
    def _look_up_bytes(self, id_: int) -> bytes:
        """The UTF-8 bytes of an id that is no control symbol."""

    @property
    def bos_id(self) -> int:
        """The id that opens a document."""
        return self.chat_format.bos

    @property
    def eos_id(self) -> int:
        """The id that ends a document."""
        return self.chat_format.eos

    @property
    def ends(self) -> list[int]:
        """Ids that end what is generated."""
        return self.chat_format.ends

    @property
    def role_ids(self) -> dict[Role, int]:
        """The id of each role's symbol; empty where roles are not marked by one symbol each."""
        return {role: self.chat_format.turn(role).before[0] for role in ROLES} if self.chat_format.is_own else {}

    @property
    def never_sampled(self) -> list[int]:
        """Ids that are never sampled: every control symbol that does not end what is generated."""
        return sorted(self.control.difference(self.ends))

    def pieces(self) -> list[str]:
        """The piece string of every id."""
        return [self.piece_of(id_) for id_ in range(self.vocab_size)]

    def encode(self, text: str) -> list[int]:
        """Encode plain text, never as a control symbol, whatever the text contains.

        Lone surrogates, which no UTF-8 can hold, become U+FFFD.
        """
        return self.encode_batch([text])[0]

    def decode(self, ids: Sequence[int]) -> str:
        """Decode token ids. Control symbols have no text; bytes that are not UTF-8 become U+FFFD."""
        decoder = StreamDecoder(self)
        return decoder.feed(ids) + decoder.finish()

    def token_bytes(self) -> list[bytes]:
        """The UTF-8 bytes of each id; none for control symbols."""
        return [self.bytes_of(id_) for id_ in range(self.vocab_size)]

    def bytes_of(self, id_: int) -> bytes:
        """The UTF-8 bytes of an id; none for a control symbol."""
        known = self._bytes.get(id_)
        if known is None:
            known = self._bytes[id_] = b"" if id_ in self.control else self._look_up_bytes(id_)
        return known

    def text_of(self, id_: int) -> str | None:
        """The text of an id on its own; None if its bytes are not whole characters."""
        if id_ not in self._texts:
            try:
                self._texts[id_] = self.bytes_of(id_).decode("utf-8")
            except UnicodeDecodeError:
                self._texts[id_] = None
        return self._texts[id_]

    def least_tokens(self, text: str) -> int:
        """A lower bound of the number of tokens of a text, without tokenizing it."""
        if self._longest_piece == 0:
            self._longest_piece = self._characters_of_a_token()
        return -(-len(text) // self._longest_piece)

    def _characters_of_a_token(self) -> int:
        """The most characters of text that one token stands for."""
        return max(map(len, self.pieces()))


class StreamDecoder:
    """Decodes token ids piece by piece; the joined pieces equal the decoded whole."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._holds_bytes = False

    @property
    def pending(self) -> bool:
        """Whether bytes of an incomplete character are held back."""
        return self._holds_bytes

    def feed(self, ids: Sequence[int]) -> str:
        """Decode the next ids; bytes of an incomplete character are held back."""
        if len(ids) == 1 and not self._holds_bytes:
            text = self._tokenizer.text_of(ids[0])
            if text is not None:
                return text
        text = self._decoder.decode(b"".join(map(self._tokenizer.bytes_of, ids)))
        self._holds_bytes = bool(self._decoder.getstate()[0])
        return text

    def finish(self) -> str:
        """Decode the end: U+FFFD for an incomplete character, else nothing."""
        return self._decoder.decode(b"", final=True)


def encodable(text: str) -> str:
    """The text with U+FFFD for each lone surrogate."""
    return _SURROGATES.sub("\ufffd", text)


def parts_of(text: str, border: re.Pattern[str]) -> list[str]:
    """Cut a text into parts of some 65,536 characters, each up to the end of a match of `border`.

    Args:
        text: of any length.
        border: ends where no token reaches over.
    """
    parts: list[str] = []
    start = 0
    while len(text) - start > _PART_CHARACTERS:
        found = border.search(text, start + _PART_CHARACTERS)
        if not found:
            break
        parts.append(text[start : found.end()])
        start = found.end()
    if start < len(text):
        parts.append(text[start:])
    return parts
