"""The tokenizer: SentencePiece BPE with a control symbol for each role, which text never encodes to.

Encoding and decoding preserve all text, including newlines, runs of spaces, NUL and U+2581. As SentencePiece uses
U+2581 for the space, that character and NUL are encoded as their bytes.
"""

from __future__ import annotations

import codecs
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from os import PathLike, fspath
from pathlib import Path

import sentencepiece

from tinylm.chat_format import Role
from tinylm.config import TokenizerConfig
from tinylm.errors import TinyLMError

BOS, EOS = "<bos>", "<eos>"
ROLE_PIECES: dict[Role, str] = {"system": "<system>", "user": "<user>", "assistant": "<assistant>"}
CONTROL_PIECES = (BOS, EOS, *ROLE_PIECES.values())

# Beside the learned pieces a vocabulary holds <unk>, the control symbols and one piece for each byte.
_FIXED_PIECES = 1 + len(CONTROL_PIECES) + 256
# SentencePiece's own marks, which are encoded as bytes outside of it.
_AS_BYTES = re.compile("([\u2581\0]+)")
_SURROGATES = re.compile("[\ud800-\udfff]")
_PIECE_CHARACTERS = 1 << 16
# SentencePiece drops training sentences that contain one of its own marks.
_NOT_TRAINABLE = re.compile("[\t\u2581\u2585\u2047\0]")


class Tokenizer:
    """Text to token ids and back.

    Attributes:
        vocab_size: number of ids.
        bos_id, eos_id: ids of `<bos>` and `<eos>`.
        role_ids: the id of each role's symbol.
    """

    def __init__(self, model: bytes) -> None:
        """Create a tokenizer from a serialized SentencePiece model.

        Raises:
            TinyLMError: the bytes are no SentencePiece model, or one without the control symbols.
        """
        if not model:
            raise TinyLMError("not a SentencePiece model")  # SentencePiece would accept it
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        except RuntimeError:
            raise TinyLMError("not a SentencePiece model") from None
        processor = self._processor
        ids = {piece: processor.piece_to_id(piece) for piece in CONTROL_PIECES}
        missing = [piece for piece, id_ in ids.items() if not processor.is_control(id_)]
        if missing or processor.piece_to_id("<0x00>") == processor.unk_id():
            raise TinyLMError(
                f"not a tokenizer of TinyLM: no control symbol {' '.join(missing)}"
                if missing
                else "not a tokenizer of TinyLM: no byte pieces"
            )
        self.vocab_size: int = processor.vocab_size()
        self.bos_id: int = ids[BOS]
        self.eos_id: int = ids[EOS]
        self.unk_id: int = processor.unk_id()
        self.role_ids: dict[Role, int] = {role: ids[piece] for role, piece in ROLE_PIECES.items()}
        self._byte_ids = [processor.piece_to_id(f"<0x{byte:02X}>") for byte in range(256)]
        # Filled on demand: all of a large vocabulary would delay the first token of a reply
        self._bytes: dict[int, bytes] = {}
        self._texts: dict[int, str | None] = {}
        self._longest_piece = 0

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Tokenizer:
        """Read `tokenizer.model`.

        Raises:
            TinyLMError: the file cannot be read or holds no tokenizer of TinyLM.
        """
        try:
            return cls(Path(path).read_bytes())
        except OSError as error:
            raise TinyLMError(f"{fspath(path)}: cannot be read ({error.strerror})") from None
        except TinyLMError as error:
            raise TinyLMError(f"{fspath(path)}: {error}") from None

    def serialized(self) -> bytes:
        """The serialized SentencePiece model."""
        model: bytes = self._processor.serialized_model_proto()
        return model

    def pieces(self) -> list[str]:
        """The piece string of every id."""
        return [self._processor.id_to_piece(id_) for id_ in range(self.vocab_size)]

    def piece_of(self, id_: int) -> str:
        """The piece string of an id."""
        piece: str = self._processor.id_to_piece(id_)
        return piece

    def encode(self, text: str) -> list[int]:
        """Encode plain text, never as a control symbol, whatever the text contains.

        Lone surrogates, which no UTF-8 can hold, become U+FFFD.
        """
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str], threads: int = 1) -> list[list[int]]:
        """Token ids of many texts, equal to `encode` of each.

        Args:
            texts: of any length. SentencePiece needs some hundred bytes of memory for each byte of a text: it is given
                long ones in pieces that end with a line, which changes no token.
            threads: of SentencePiece.
        """
        pieces: list[str] = []
        shapes: list[list[int | None]] = []  # of each text: the ids of characters encoded here, None for a piece
        for text in texts:
            shape: list[int | None] = []
            for part in _AS_BYTES.split(_encodable(text)) if _AS_BYTES.search(text) else [_encodable(text)]:
                if _AS_BYTES.match(part):
                    shape += [self._byte_ids[byte] for byte in part.encode("utf-8")]
                elif part:
                    found = _pieces(part)
                    shape += [None] * len(found)
                    pieces += found
            shapes.append(shape)
        if len(pieces) > 1:
            encoded = iter(self._processor.encode(pieces, num_threads=threads))
        else:
            # SentencePiece starts threads for every list, which would cost more than a short text itself
            encoded = iter([self._processor.encode(piece) for piece in pieces])
        results: list[list[int]] = []
        for shape in shapes:
            ids: list[int] = []
            for id_ in shape:
                ids += next(encoded) if id_ is None else [id_]
            results.append(ids)
        return results

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
            known = self._bytes[id_] = self._look_up_bytes(id_)
        return known

    def text_of(self, id_: int) -> str | None:
        """The text of an id on its own; None if its bytes are not whole characters."""
        if id_ not in self._texts:
            try:
                self._texts[id_] = self.bytes_of(id_).decode("utf-8")
            except UnicodeDecodeError:
                self._texts[id_] = None
        return self._texts[id_]

    def _look_up_bytes(self, id_: int) -> bytes:
        piece: str = self._processor.id_to_piece(id_)
        if self._processor.is_control(id_) or self._processor.is_unknown(id_):
            return b""
        if self._processor.is_byte(id_):
            return bytes([int(piece[3:5], 16)])
        return piece.replace("\u2581", " ").encode("utf-8")

    def least_tokens(self, text: str) -> int:
        """A lower bound of the number of tokens of a text, without tokenizing it."""
        if self._longest_piece == 0:
            self._longest_piece = max(map(len, self.pieces()))
        return -(-len(text) // self._longest_piece)

    @property
    def never_sampled(self) -> list[int]:
        """Ids that are never sampled: every control symbol but `<eos>`, and `<unk>`."""
        return [self.unk_id, self.bos_id, *self.role_ids.values()]


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


def train_tokenizer(
    texts: Iterable[str],
    vocab_size: int,
    config: TokenizerConfig,
    *,
    notify: Callable[[str], None] = lambda _: None,
) -> Tokenizer:
    """Train a SentencePiece BPE tokenizer.

    Args:
        texts: documents and messages, which are trained on line by line.
        vocab_size: number of ids; lowered, with a line to `notify`, if the texts cannot fill it.
        config: see `TokenizerConfig`.
        notify: receives lines for the user.

    Raises:
        TinyLMError: there is no text to train on.
    """
    sentences = _sample_sentences(texts, int(config.max_sample_megabytes * 1e6))
    counts: Counter[str] = Counter()
    for sentence in sentences:
        counts.update(sentence)
    counts.pop(" ", None)
    if not counts:
        raise TinyLMError("there is no text to train a tokenizer on")
    rare = _rare_characters(counts, vocab_size)
    if rare:
        notify(f"{len(rare):,} rare characters get no token of their own: they are spelled as bytes")
        to_space = dict.fromkeys(map(ord, rare), " ")
        sentences = [sentence.translate(to_space) for sentence in sentences]
    if not any(" " in sentence for sentence in sentences):
        # Without a piece of its own, a space would be encoded as the bytes of SentencePiece's mark for it
        common = counts.most_common(1)[0][0]
        sentences.append(f"{common} {common}")
    model = io.BytesIO()
    size = vocab_size
    while True:
        try:
            _run_trainer(sentences, model, size, config)
            break
        except RuntimeError as error:
            fits = re.search(r"value <= (\d+)", str(error))
            if not fits or not 0 < int(fits[1]) < size:
                raise
            size = int(fits[1])
            model = io.BytesIO()
    if size < vocab_size:
        notify(f"the data fills a vocabulary of {size:,}, not of {vocab_size:,}: model.vocab_size is lowered")
    return Tokenizer(model.getvalue())


def _run_trainer(sentences: list[str], model: io.BytesIO, size: int, config: TokenizerConfig) -> None:
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        model_type="bpe",
        vocab_size=size,
        character_coverage=1.0,
        byte_fallback=True,
        split_digits=config.split_digits,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=False,
        allow_whitespace_only_pieces=True,
        max_sentence_length=1 << 20,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        bos_piece=BOS,
        eos_piece=EOS,
        control_symbols=list(ROLE_PIECES.values()),
        # It is stored in the model: a constant, so that equal data give an equal file
        num_threads=4,
        minloglevel=2,
    )


def _sample_sentences(texts: Iterable[str], max_bytes: int) -> list[str]:
    """Split texts into lines, and take an even sample of about `max_bytes` of them."""
    kept: list[str] = []
    kept_bytes, every, index = 0, 1, 0
    for text in texts:
        for line in _encodable(text).split("\n"):
            sentence = _NOT_TRAINABLE.sub(" ", line)
            if not sentence.strip():
                continue
            index += 1
            if index % every:
                continue
            # BPE training takes quadratic time in the length of a line
            kept += [sentence[start : start + 4096] for start in range(0, len(sentence), 4096)]
            kept_bytes += len(sentence)
        if kept_bytes > 2 * max_bytes:
            kept, every = kept[::2], every * 2
            kept_bytes = sum(map(len, kept))
    if kept_bytes > max_bytes:
        kept = kept[:: -(-kept_bytes // max_bytes)]
    return kept


def _rare_characters(counts: Counter[str], vocab_size: int) -> set[str]:
    """Find the characters that get no piece: rarer than one in a million, or beyond half of the free pieces."""
    budget = max(1, (vocab_size - _FIXED_PIECES) // 2)
    total = sum(counts.values())
    frequent = {character for character, count in counts.most_common(budget) if count * 1_000_000 >= total}
    return set(counts) - frequent


def _pieces(text: str) -> list[str]:
    """Cut a text behind line ends into pieces of some `_PIECE_CHARACTERS`; no token reaches over a line end."""
    pieces: list[str] = []
    start = 0
    while len(text) - start > _PIECE_CHARACTERS:
        end = text.find("\n", start + _PIECE_CHARACTERS) + 1
        if not end:
            break
        pieces.append(text[start:end])
        start = end
    if start < len(text):
        pieces.append(text[start:])
    return pieces


def _encodable(text: str) -> str:
    return _SURROGATES.sub("\ufffd", text)
