"""Examples as tokens: lengths, the supervised part, how the vocabulary covers them, and text with its loss mask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tinylm.chat_format import Conversation, encode_turn
from tinylm.data.dataset.packing import chunks_of
from tinylm.tokenizer import BOS, EOS, ROLE_PIECES, Tokenizer

Spans = list[tuple[str, bool]]
_SPACE = 0x20
_CONTINUATION_BYTES = range(0x80, 0xC0)


class Sequenced(NamedTuple):
    """One example as training sees it.

    Attributes:
        ids: with `<bos>`.
        supervised: of the same length: what the model is to learn to say.
        supervised_kept: how many supervised tokens are left where the example is cut to the context.
        longest_turn: in tokens.
        characters, utf8_bytes: of its text.
    """

    ids: list[int]
    supervised: list[bool]
    supervised_kept: int
    longest_turn: int
    characters: int
    utf8_bytes: int


@dataclass
class TokenFacts:
    """What examples are in tokens.

    Attributes:
        total: of all the data, estimated where only a sample was measured; `<bos>` and roles included.
        median, p95, longest: tokens of an example.
        over_long: how many examples are longer than the context, as a part of them.
        cut_turns: how many have a turn that does not fit the context by itself, as a part of them.
        supervised: part of the tokens that the model is to learn to say.
        supervised_lost: part of those that is lost where conversations are cut.
        bytes_per_token: UTF-8 bytes of text by tokens of text.
        characters_as_bytes: part of the characters that have no token and are spelled as bytes.
    """

    total: int
    median: int
    p95: int
    longest: int
    over_long: float
    cut_turns: float
    supervised: float
    supervised_lost: float
    bytes_per_token: float
    characters_as_bytes: float


def sequence_of(example: str | Conversation, tokenizer: Tokenizer, context_length: int) -> Sequenced:
    """An example as tokens: a conversation in the chat format, a document with its `<eos>`."""
    ids, supervised, longest = [tokenizer.bos_id], [False], 0
    if isinstance(example, str):
        ids += [*tokenizer.encode(example), tokenizer.eos_id]
        supervised += [True] * (len(ids) - 1)
        texts = [example]
    else:
        for message in example:
            turn_ids, turn_supervised = encode_turn(tokenizer, message)
            ids += turn_ids
            supervised += turn_supervised
            longest = max(longest, len(turn_ids))
        texts = [message["content"] for message in example]
    characters = sum(map(len, texts))
    kept = sum(supervised)
    if not isinstance(example, str) and len(ids) > context_length + 1:
        notes: Counter[str] = Counter()
        chunks = chunks_of(np.array(ids[1:]), tokenizer, context_length + 1, notes)
        kept = sum(sum(supervised[1 + chunk.start : 1 + chunk.stop]) for chunk in chunks)
    return Sequenced(ids, supervised, kept, longest, characters, sum(len(text.encode("utf-8")) for text in texts))


def measure_tokens(
    sequences: Iterable[Sequenced], tokenizer: Tokenizer, context_length: int, scale: float
) -> TokenFacts:
    """Figures of examples.

    Args:
        sequences: at least one.
        tokenizer: what made them.
        context_length: as in the configuration; a row of training holds one token more.
        scale: by how much the data is larger than these examples.
    """
    byte_values = {id_: int(piece[3:5], 16) for id_, piece in enumerate(tokenizer.pieces()) if _is_byte_piece(piece)}
    control = {tokenizer.bos_id, tokenizer.eos_id, *tokenizer.role_ids.values()}
    lengths: list[int] = []
    total = supervised = kept = text_tokens = spelled = characters = utf8_bytes = cut_turns = 0
    for sequence in sequences:
        lengths.append(len(sequence.ids))
        total += len(sequence.ids)
        supervised += sum(sequence.supervised)
        kept += sequence.supervised_kept
        characters += sequence.characters
        utf8_bytes += sequence.utf8_bytes
        cut_turns += sequence.longest_turn > context_length
        for id_ in sequence.ids:
            text_tokens += id_ not in control
            value = byte_values.get(id_)
            # A line end is always a byte, and a cheap one
            spelled += value is not None and value >= _SPACE and value not in _CONTINUATION_BYTES
    lengths.sort()
    count = len(lengths)
    return TokenFacts(
        total=round(total * scale),
        median=lengths[count // 2],
        p95=lengths[min(count - 1, count * 95 // 100)],
        longest=lengths[-1],
        over_long=sum(length > context_length + 1 for length in lengths) / count,
        cut_turns=cut_turns / count,
        supervised=supervised / total,
        supervised_lost=1 - kept / supervised if supervised else 0.0,
        bytes_per_token=utf8_bytes / max(1, text_tokens),
        characters_as_bytes=spelled / max(1, characters),
    )


def spans_of(sequence: Sequenced, tokenizer: Tokenizer) -> Spans:
    """An example as text with its symbols, in spans of one loss mask each."""
    symbols = {tokenizer.bos_id: BOS, tokenizer.eos_id: EOS}
    symbols |= {id_: f"\n{ROLE_PIECES[role]} " for role, id_ in tokenizer.role_ids.items()}
    table = tokenizer.token_bytes()
    spans: list[tuple[bytes, bool]] = []
    for id_, said in zip(sequence.ids, sequence.supervised, strict=True):
        text = symbols[id_].encode() if id_ in symbols else table[id_]
        if spans and spans[-1][1] == said:
            spans[-1] = (spans[-1][0] + text, said)
        else:
            spans.append((text, said))
    return [(text.decode("utf-8", "replace"), said) for text, said in spans]


def clipped(spans: Spans, characters: int) -> Spans:
    """The beginning of an example, with a sign where it is cut."""
    kept: Spans = []
    for text, said in spans:
        if characters <= 0:
            return [*kept, (" \u2026", False)]
        kept.append((text[:characters], said))
        characters -= len(text)
    return kept if characters >= 0 else [*kept, (" \u2026", False)]


def _is_byte_piece(piece: str) -> bool:
    return len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">")
