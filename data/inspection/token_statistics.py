"""Statistics of examples in tokens: lengths, supervised share, coverage by the vocabulary; text with its loss mask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinylm.chat_format import Example, encode_examples, find_turns, loss_mask, texts_of
from tinylm.data.dataset.packing import chunks_of
from tinylm.tokenizer import Tokenizer

MarkedText = list[tuple[str, bool]]
"""Spans of text, each with whether its tokens are supervised."""
"""Spans of text, each with whether its tokens are supervised."""
_BATCH = 256
_SPACE = 0x20
_CONTINUATION_BYTES = range(0x80, 0xC0)


class EncodedExample(NamedTuple):
    """One example as training encodes it.

    Attributes:
        ids: with `<bos>`, int64 [tokens].
        supervised: the loss mask, bool [tokens].
        supervised_kept: supervised tokens left after the example is cut to the context.
        longest_turn: in tokens; 0 for a document.
        characters, utf8_bytes: of its text.
    """

    ids: NDArray[np.int64]
    supervised: NDArray[np.bool_]
    supervised_kept: int
    longest_turn: int
    characters: int
    utf8_bytes: int


@dataclass
class TokenFacts:
    """Statistics in tokens.

    Attributes:
        total: tokens of all data, `<bos>` and roles included; estimated where only a sample was measured.
        median, p95, longest: tokens of an example.
        over_long: share of the examples that are longer than the context.
        cut_turns: share of the examples with a turn that is longer than the context.
        supervised: share of the tokens that are supervised.
        supervised_lost: share of the supervised tokens that are lost where conversations are cut.
        bytes_per_token: UTF-8 bytes of text divided by tokens of text.
        characters_as_bytes: share of the characters that have no token of their own and are encoded as bytes.
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


def encode_for_measuring(
    examples: Iterable[Example], tokenizer: Tokenizer, context_length: int
) -> Iterator[EncodedExample]:
    """Encode examples as training does, and count what is left of one that is longer than the context."""
    remaining = iter(examples)
    # Tokenizer and masks have a cost for each call, so they get many examples at once
    while batch := list(islice(remaining, _BATCH)):
        ids = [np.array([tokenizer.bos_id, *encoded], np.int64) for encoded in encode_examples(tokenizer, batch)]
        ends = np.cumsum([len(one) for one in ids])[:-1]
        # A mask begins anew at each `<bos>`
        masks = np.split(loss_mask(tokenizer, np.concatenate(ids)), ends)
        for example, one, supervised in zip(batch, ids, masks, strict=True):
            yield _measured(example, one, supervised, context_length, tokenizer)


def _measured(
    example: Example,
    ids: NDArray[np.int64],
    supervised: NDArray[np.bool_],
    context_length: int,
    tokenizer: Tokenizer,
) -> EncodedExample:
    kept, longest = int(supervised.sum()), 0
    if not isinstance(example, str):
        longest = int(np.diff([*find_turns(tokenizer, ids).starts, len(ids)]).max())
        if len(ids) > context_length + 1:
            notes: Counter[str] = Counter()
            chunks = chunks_of(ids[1:], tokenizer, context_length + 1, notes)
            kept = sum(int(supervised[1 + chunk.start : 1 + chunk.stop].sum()) for chunk in chunks)
    texts = texts_of(example)
    utf8_bytes = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    return EncodedExample(ids, supervised, kept, longest, sum(map(len, texts)), utf8_bytes)


def measure_tokens(
    examples: Iterable[EncodedExample], tokenizer: Tokenizer, context_length: int, scale: float
) -> TokenFacts:
    """Compute the statistics of some examples.

    Args:
        examples: at least one.
        tokenizer: what encoded them.
        context_length: as in the configuration; a row of training holds one token more.
        scale: size of all data divided by the size of these examples.
    """
    is_text = np.ones(tokenizer.vocab_size, np.bool_)
    is_text[list(tokenizer.control)] = False
    opens_byte_sequence = np.array([_opens_byte_sequence(piece) for piece in tokenizer.pieces()])
    lengths: list[int] = []
    supervised = kept = text_tokens = byte_sequences = characters = utf8_bytes = cut_turns = 0
    for example in examples:
        lengths.append(len(example.ids))
        supervised += int(example.supervised.sum())
        kept += example.supervised_kept
        characters += example.characters
        utf8_bytes += example.utf8_bytes
        cut_turns += example.longest_turn > context_length
        text_tokens += int(is_text[example.ids].sum())
        byte_sequences += int(opens_byte_sequence[example.ids].sum())
    total = sum(lengths)
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
        characters_as_bytes=byte_sequences / max(1, characters),
    )


def spans_of(example: EncodedExample, tokenizer: Tokenizer) -> MarkedText:
    """Decode an example to text with its control symbols and its loss mask."""
    symbols = {id_: tokenizer.piece_of(id_) for id_ in tokenizer.control}
    symbols |= {id_: f"\n{symbols[id_]} " for id_ in tokenizer.role_ids.values()}
    table = tokenizer.token_bytes()
    tokens = zip(example.ids.tolist(), example.supervised.tolist(), strict=True)
    spans: MarkedText = []
    for said, group in groupby(tokens, key=lambda token: token[1]):
        text = b"".join(symbols[id_].encode() if id_ in symbols else table[id_] for id_, _ in group)
        spans.append((text.decode("utf-8", "replace"), said))
    return spans


def clipped(spans: MarkedText, characters: int) -> MarkedText:
    """Cut an example after a number of characters; an ellipsis follows."""
    kept: MarkedText = []
    for text, said in spans:
        if characters <= 0:
            return [*kept, (" \u2026", False)]
        kept.append((text[:characters], said))
        characters -= len(text)
    return kept if characters >= 0 else [*kept, (" \u2026", False)]


def _opens_byte_sequence(piece: str) -> bool:
    """Whether a piece is the first byte of a character that is encoded as bytes, line ends excepted."""
    if not (len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">")):
        return False
    value = int(piece[3:5], 16)
    return value >= _SPACE and value not in _CONTINUATION_BYTES
