"""The SentencePiece tokenizer of a model, from `tokenizer.model`, `tokenizer.json` or the lists of a GGUF file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from tinylm.chat_format import ChatFormat
from tinylm.errors import TinyLMError
from tinylm.importing.source import ImportedVocabulary
from tinylm.tokenizer import SentencePieceTokenizer, Tokenizer
from tinylm.tokenizer.byte_level_bpe import read_tokenizer_json

# Types of a piece; those of GGUF have the same numbers
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = range(1, 7)
_BPE = 2
_PROBES = (
    "Hello there, world!",
    "def f(x):\n\treturn  x**2",
    "äöü 天地 👩‍👩‍👧",
    "and   three  spaces\n\n\nand lines 12345",
)


class SentencePieceVocabulary(ImportedVocabulary):
    """A SentencePiece model that is made ready.

    Args:
        model: the serialized model.

    Attributes:
        text_prefix: what the model's own program puts before a text: a space, or nothing. The chat format puts it where
            it belongs, and not before every turn.

    Raises:
        TinyLMError: it is no SentencePiece model, or has no byte pieces.
    """

    def __init__(self, model: bytes) -> None:
        self._model: Any = sentencepiece_model_pb2.ModelProto()
        try:
            self._model.ParseFromString(model)
        except Exception:  # noqa: BLE001 - protobuf's own error is of no public type
            raise TinyLMError("not a SentencePiece model") from None
        self._ids = {piece.piece: id_ for id_, piece in enumerate(self._model.pieces)}
        if not {f"<0x{byte:02X}>" for byte in range(256)} <= self._ids.keys():
            raise TinyLMError("it is no SentencePiece model with byte pieces, so it cannot encode every text")
        normalizer = self._model.normalizer_spec
        self.text_prefix = " " if normalizer.add_dummy_prefix else ""
        normalizer.add_dummy_prefix = False
        normalizer.remove_extra_whitespaces = False
        self._processor = _processor(self._model)

    @property
    def size(self) -> int:
        """Number of ids."""
        return len(self._model.pieces)

    def id_of(self, piece: str) -> int | None:
        """The id of a control symbol, or of a piece that was added to be one."""
        id_ = self._ids.get(piece)
        return id_ if id_ is not None and self.is_symbol(id_) else None

    def is_symbol(self, id_: int) -> bool:
        """Whether an id is that of a control symbol, or of a piece that was added to be one."""
        return 0 <= id_ < self.size and self._model.pieces[id_].type in (_CONTROL, _USER_DEFINED)

    def text_ids(self, text: str) -> list[int]:
        """Token ids of text inside a conversation."""
        ids: list[int] = self._processor.encode(text)
        return ids

    def add_symbol(self, piece: str) -> int:
        """Add a control symbol behind all ids.

        Returns:
            its id.
        """
        self._model.pieces.add(piece=piece, score=0.0, type=_CONTROL)
        self._ids[piece] = self.size - 1
        return self.size - 1

    def declare(self, tokens: Mapping[int, tuple[str, bool]]) -> None:
        """Take in the added tokens that a model's other files name.

        Args:
            tokens: piece by id, with whether it is special.

        Raises:
            TinyLMError: they leave a gap, or contradict the model.
        """
        for id_, (piece, is_special) in sorted(tokens.items()):
            if id_ == self.size and piece not in self._ids:
                self.add_symbol(piece)
            elif self._ids.get(piece) != id_:
                raise TinyLMError(f"the added token {piece[:40]!r} has the id {id_:,}, which does not fit the model")
            if is_special and self._model.pieces[id_].type in (_NORMAL, _USER_DEFINED):
                self._model.pieces[id_].type = _CONTROL
        self._processor = _processor(self._model)

    def finish(self, chat_format: ChatFormat) -> Tokenizer:
        """The tokenizer. Added pieces that the format uses become control symbols."""
        for id_ in chat_format.markers:
            if self.is_symbol(id_):
                self._model.pieces[id_].type = _CONTROL
        return SentencePieceTokenizer(self._model.SerializeToString(), chat_format)


def sentencepiece_of_gguf(
    tokens: Sequence[str], scores: Sequence[float], kinds: Sequence[int], space_prefix: bool
) -> SentencePieceVocabulary:
    """Rebuild a SentencePiece model from a GGUF file.

    Args:
        tokens: piece of each id.
        scores: of each piece; of two neighbours, those that make the piece of the highest score are joined.
        kinds: of each id: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
        space_prefix: whether a text is encoded with a space before it.

    Raises:
        TinyLMError: it cannot be rebuilt.
    """
    model = sentencepiece_model_pb2.ModelProto()
    for piece, score, kind in zip(tokens, scores, kinds, strict=True):
        if kind not in range(_NORMAL, _BYTE + 1):
            raise TinyLMError(f"tokenizer.ggml.token_type has the unknown type {kind}")
        model.pieces.add(piece=piece, score=float(score), type=int(kind))
    if kinds.count(_UNKNOWN) != 1:
        raise TinyLMError("tokenizer.ggml.token_type has not exactly one unknown token")
    model.trainer_spec.model_type = _BPE
    model.trainer_spec.byte_fallback = True
    model.trainer_spec.vocab_size = len(tokens)
    model.trainer_spec.unk_id = kinds.index(_UNKNOWN)
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = space_prefix
    model.normalizer_spec.remove_extra_whitespaces = False
    model.normalizer_spec.escape_whitespaces = True
    return SentencePieceVocabulary(model.SerializeToString())


def sentencepiece_of_json(values: Mapping[str, Any], content: bytes) -> SentencePieceVocabulary:
    """Rebuild a SentencePiece model from a `tokenizer.json` whose BPE falls back to bytes.

    Args:
        values: of the file.
        content: the file.

    Raises:
        TinyLMError: it cannot be rebuilt, or encodes some texts otherwise than the file.
    """
    encoder = read_tokenizer_json(content)  # whose types are right, then
    model = values["model"]
    ids: dict[str, int] = {**model["vocab"]}
    added = {token["id"]: token for token in values.get("added_tokens") or []}
    ids.update({token["content"]: id_ for id_, token in added.items()})
    tokens = sorted(ids, key=ids.__getitem__)
    if sorted(ids.values()) != list(range(len(ids))):
        raise TinyLMError("its ids have gaps")
    scores: dict[str, float] = {}
    for rank, merge in enumerate(model["merges"]):
        scores.setdefault("".join(merge.split(" ", 1) if isinstance(merge, str) else merge), -float(rank))
    unknown = model.get("unk_token") or "<unk>"
    kinds = []
    for id_, piece in enumerate(tokens):
        if piece == unknown:
            kinds.append(_UNKNOWN)
        elif id_ in added:
            kinds.append(_CONTROL if added[id_].get("special") else _USER_DEFINED)
        elif len(piece) == 6 and piece.startswith("<0x"):
            kinds.append(_BYTE)
        else:
            kinds.append(_NORMAL if len(piece) == 1 or piece in scores else _UNUSED)
    prefix = " " if _prepends(values) else ""
    made = sentencepiece_of_gguf(tokens, [scores.get(piece, 0.0) for piece in tokens], kinds, bool(prefix))
    encoder.encode_special_tokens = True
    for probe in _PROBES:
        if encoder.encode(probe, add_special_tokens=False).ids != made.text_ids(prefix + probe):
            raise TinyLMError("its words are not parted as SentencePiece parts them")
    return made


def _prepends(values: Mapping[str, Any]) -> bool:
    """Whether a `tokenizer.json` puts a space before a text."""
    normalizer, pre = values.get("normalizer") or {}, values.get("pre_tokenizer") or {}
    steps = [normalizer, *(normalizer.get("normalizers") or []), pre, *(pre.get("pretokenizers") or [])]
    kinds = {step.get("type"): step for step in steps}
    metaspace = kinds.get("Metaspace")
    return "Prepend" in kinds or (metaspace is not None and metaspace.get("prepend_scheme", "always") != "never")


def _processor(model: Any) -> Any:
    try:
        return sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())
    except RuntimeError:
        raise TinyLMError("not a SentencePiece model") from None
