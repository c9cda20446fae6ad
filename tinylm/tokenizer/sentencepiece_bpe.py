"""SentencePiece BPE: the kind of tokenizer that TinyLM trains, and that of models like Llama 2.

Encoding and decoding preserve all text, including newlines, runs of spaces, NUL and U+2581. As SentencePiece uses
U+2581 for the space, that character and NUL are encoded as their bytes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import sentencepiece

from tinylm.chat_format import ChatFormat, Role, own_format
from tinylm.errors import TinyLMError
from tinylm.tokenizer.interface import Tokenizer, encodable, parts_of

BOS, EOS = "<bos>", "<eos>"
ROLE_PIECES: dict[Role, str] = {"system": "<system>", "user": "<user>", "assistant": "<assistant>"}
CONTROL_PIECES = (BOS, EOS, *ROLE_PIECES.values())

# SentencePiece's own marks, which are encoded as bytes outside of it.
_AS_BYTES = re.compile("([\u2581\0]+)")
# No token reaches over it.
_LINE_END = re.compile("\n")


class SentencePieceTokenizer(Tokenizer):
    """A tokenizer from a serialized SentencePiece model.

    Args:
        model: the content of `tokenizer.model`.
        chat_format: of an imported model; None: TinyLM's own, with a control symbol for each role.

    Raises:
        TinyLMError: the bytes are no SentencePiece model, one without byte pieces, or without the control symbols.
    """

    file_name = "tokenizer.model"
    kind = "SentencePieceBPE"

    def __init__(self, model: bytes, chat_format: ChatFormat | None = None) -> None:
        if not model:
            raise TinyLMError("not a SentencePiece model")  # SentencePiece would accept it
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        except RuntimeError:
            raise TinyLMError("not a SentencePiece model") from None
        processor = self._processor
        size: int = processor.vocab_size()
        if chat_format is None:
            chat_format = _own_format(processor)
            control = {processor.unk_id(), *chat_format.markers}
        else:
            has_no_text = processor.is_control, processor.is_unknown, processor.is_unused
            control = {id_ for id_ in range(size) if any(kind(id_) for kind in has_no_text)}
        if processor.piece_to_id("<0x00>") == processor.unk_id():
            raise TinyLMError("not a tokenizer of TinyLM: no byte pieces")
        super().__init__(size, chat_format, control)
        self.unk_id: int = processor.unk_id()
        self._byte_ids = [processor.piece_to_id(f"<0x{byte:02X}>") for byte in range(256)]

    def __reduce__(self) -> tuple[Any, ...]:
        return SentencePieceTokenizer, (self.serialized(), None if self.chat_format.is_own else self.chat_format)

    def serialized(self) -> bytes:
        """The serialized SentencePiece model."""
        model: bytes = self._processor.serialized_model_proto()
        return model

    def piece_of(self, id_: int) -> str:
        """The piece string of an id."""
        piece: str = self._processor.id_to_piece(id_)
        return piece

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
            for part in _AS_BYTES.split(encodable(text)) if _AS_BYTES.search(text) else [encodable(text)]:
                if _AS_BYTES.match(part):
                    shape += [self._byte_ids[byte] for byte in part.encode("utf-8")]
                elif part:
                    found = parts_of(part, _LINE_END)
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

    def _look_up_bytes(self, id_: int) -> bytes:
        piece: str = self._processor.id_to_piece(id_)
        if self._processor.is_byte(id_):
            return bytes([int(piece[3:5], 16)])
        return piece.replace("\u2581", " ").encode("utf-8")


def _own_format(processor: Any) -> ChatFormat:
    """The format of TinyLM's own control symbols.

    Raises:
        TinyLMError: there are none.
    """
    ids = {piece: processor.piece_to_id(piece) for piece in CONTROL_PIECES}
    missing = [piece for piece, id_ in ids.items() if not processor.is_control(id_)]
    if missing:
        raise TinyLMError(f"not a tokenizer of TinyLM: no control symbol {' '.join(missing)}")
    return own_format(ids[BOS], ids[EOS], {role: ids[piece] for role, piece in ROLE_PIECES.items()})
