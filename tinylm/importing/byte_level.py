"""The byte-level tokenizer of a model, from `tokenizer.json` or from the lists of a GGUF file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tinylm.chat_format import ChatFormat
from tinylm.errors import TinyLMError
from tinylm.importing.source import ImportedVocabulary
from tinylm.tokenizer import Tokenizer
from tinylm.tokenizer.byte_level_bpe import ByteLevelTokenizer, read_tokenizer_json

_GPT2_SPLIT = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
_BYTES_ONLY = {**_GPT2_SPLIT, "use_regex": False}
_DIGITS = {"type": "Digits", "individual_digits": True}
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


def _split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


_PRE_TOKENIZERS: dict[str, list[dict[str, Any]]] = {
    "gpt-2": [_GPT2_SPLIT],
    "smollm": [_DIGITS, _GPT2_SPLIT],
    "llama-bpe": [_split(_LLAMA3), _BYTES_ONLY],
    "qwen2": [_split(_QWEN2), _BYTES_ONLY],
}
"""How words are parted, by GGUF's `tokenizer.ggml.pre`."""


class ByteLevelVocabulary(ImportedVocabulary):
    """A byte-level BPE that is made ready.

    Args:
        values: content of a `tokenizer.json`.

    Raises:
        TinyLMError: it is no byte-level BPE, or one that cannot be used.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        model = values.get("model")
        if (
            not isinstance(model, dict)
            or model.get("type") not in ("BPE", None)
            or not isinstance(model.get("vocab"), dict)
        ):
            raise TinyLMError("its model is no BPE")
        # What cuts and fills up sequences, and adds symbols to them, is done here by the chat format
        self._values = {**values, "truncation": None, "padding": None, "post_processor": None}
        added = values.get("added_tokens") or []
        if not isinstance(added, list) or not all(
            isinstance(token, dict) and isinstance(token.get("content"), str) and isinstance(token.get("id"), int)
            for token in added
        ):
            raise TinyLMError("its added_tokens are not a list of tokens")
        # White space around an added token is text and stays
        self._added = {token["content"]: {**token, "lstrip": False, "rstrip": False} for token in added}
        self._vocabulary: dict[str, int] = model["vocab"]
        if not all(isinstance(id_, int) for id_ in self._vocabulary.values()):
            raise TinyLMError("an id of its vocab is no integer")
        self._encoder: Any = read_tokenizer_json(self._content())
        self._encoder.encode_special_tokens = True
        self._fill_gaps()

    @property
    def size(self) -> int:
        """Number of ids."""
        last: int = max((*self._vocabulary.values(), *(token["id"] for token in self._added.values())))
        return 1 + last

    def id_of(self, piece: str) -> int | None:
        """The id of an added token, special or not."""
        token = self._added.get(piece)
        return None if token is None else token["id"]

    def is_symbol(self, id_: int) -> bool:
        """Whether an id is that of an added token."""
        return any(token["id"] == id_ for token in self._added.values())

    def text_ids(self, text: str) -> list[int]:
        """Token ids of text inside a conversation."""
        ids: list[int] = self._encoder.encode(text, add_special_tokens=False).ids
        return ids

    def add_symbol(self, piece: str) -> int:
        """Add a control symbol behind all ids.

        Returns:
            its id.
        """
        id_ = self.size
        self._added[piece] = _special(piece, id_)
        return id_

    def finish(self, chat_format: ChatFormat) -> Tokenizer:
        """The tokenizer. Added tokens that the format uses become control symbols."""
        for token in self._added.values():
            token["special"] = bool(token.get("special")) or token["id"] in chat_format.markers
        return ByteLevelTokenizer(self._content(), chat_format)

    def _content(self) -> bytes:
        added = sorted(self._added.values(), key=lambda token: int(token["id"]))
        return json.dumps({**self._values, "added_tokens": added}, ensure_ascii=False).encode("utf-8", "replace")

    def _fill_gaps(self) -> None:
        """Give every id below the highest a token, so that no other can take its place."""
        used = {*self._vocabulary.values(), *(token["id"] for token in self._added.values())}
        most = 2 * len(used) + 1024
        if min(used, default=0) < 0 or max(used, default=0) > most:
            raise TinyLMError(f"its ids reach from {min(used):,} to {max(used):,}, but it has {len(used):,}")
        missing = sorted(set(range(self.size)) - used)
        for id_ in missing:
            piece = f"<|unused_{id_}|>"
            self._vocabulary[piece] = id_
            self._added[piece] = _special(piece, id_)


def byte_level_of_gguf(
    tokens: Sequence[str], merges: Sequence[str], kinds: Sequence[int], pre: str
) -> ByteLevelVocabulary:
    """Rebuild `tokenizer.json` from a GGUF file.

    Args:
        tokens: piece of each id.
        merges: pairs with a space between.
        kinds: of each id: 1 normal, 3 control, 4 added and not special, 5 unused.
        pre: name of the way in which words are parted.

    Raises:
        TinyLMError: it cannot be rebuilt.
    """
    if pre not in _PRE_TOKENIZERS:
        raise TinyLMError(f"tokenizer.ggml.pre is {pre[:40]!r}; known are {', '.join(_PRE_TOKENIZERS)}")
    pairs = [merge.split(" ") for merge in merges]
    if not all(len(pair) == 2 for pair in pairs):
        raise TinyLMError("tokenizer.ggml.merges has an entry that is no pair")
    control, added, unused = 3, 4, 5
    values = {
        "version": "1.0",
        "added_tokens": [
            _special(piece, id_) if kind in (control, unused) else {**_special(piece, id_), "special": False}
            for id_, (piece, kind) in enumerate(zip(tokens, kinds, strict=True))
            if kind in (control, added, unused)
        ],
        "normalizer": {"type": "NFC"} if pre == "qwen2" else None,
        "pre_tokenizer": _sequence(_PRE_TOKENIZERS[pre]),
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": pre == "llama-bpe",
            "vocab": _numbered(tokens),
            "merges": pairs,
        },
    }
    return ByteLevelVocabulary(values)


def _numbered(tokens: Iterable[str]) -> dict[str, int]:
    vocabulary: dict[str, int] = {}
    for id_, piece in enumerate(tokens):
        if piece in vocabulary:
            raise TinyLMError(f"tokenizer.ggml.tokens has {piece[:40]!r} twice")
        vocabulary[piece] = id_
    return vocabulary


def _sequence(steps: list[dict[str, Any]]) -> dict[str, Any]:
    return steps[0] if len(steps) == 1 else {"type": "Sequence", "pretokenizers": steps}


def _special(piece: str, id_: int) -> dict[str, Any]:
    return {
        "id": id_,
        "content": piece,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }
