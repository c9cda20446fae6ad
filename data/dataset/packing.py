"""Rows of token ids, put together when they are asked for: documents one after the other, conversations whole."""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections.abc import Iterator, MutableMapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinylm.chat_format import loss_mask
from tinylm.data.dataset.tokens import TokenReader
from tinylm.tokenizer import Tokenizer

_OPEN_ROWS = 64
_BLOCK = 1 << 16

Spans = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Where sequences start in a `TokenReader`, and where they end."""


class DocumentRows:
    """Documents one after the other, cut into rows that each open with `<bos>`.

    In each pass the documents come in another order, and rows begin at other places in them. Where a text is seen many
    times, a model learns little from rows that are always the same (docs/experiments.md).

    Args:
        tokens: of all documents, each with its `<eos>`.
        spans: of the documents.
        tokenizer: what made them.
        context_length: of a row, which holds one id more.
        seed: of the order.
    """

    def __init__(self, tokens: TokenReader, spans: Spans, tokenizer: Tokenizer, context_length: int, seed: int) -> None:
        self._tokens, self._tokenizer, self._context, self._seed = tokens, tokenizer, context_length, seed
        self._spans = spans
        starts, ends = spans
        # Behind each document comes the `<bos>` of the next
        self._total = int((ends - starts + 1).sum())
        self._streams: dict[int, _Stream] = {}

    def __len__(self) -> int:
        return max(1, self._total // self._context)

    def read(self, rows: Sequence[int], number_of_pass: int = 0) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Read rows by their numbers.

        Args:
            rows: their numbers.
            number_of_pass: which order of the documents they are of.

        Returns:
            ids and which of them are to be predicted, [rows, context_length + 1].
        """
        stream = self._stream(number_of_pass)
        ids = np.full((len(rows), self._context + 1), self._tokenizer.bos_id, np.int64)
        for number, row in enumerate(rows):
            self._fill(ids[number, 1:], stream, (stream.offset + row * self._context) % self._total)
        return ids, loss_mask(self._tokenizer, ids)

    def _stream(self, number_of_pass: int) -> _Stream:
        """The documents in a pass's order; those of two passes are kept, as a batch may be of both."""
        if number_of_pass not in self._streams:
            starts, ends = self._spans
            rng = np.random.default_rng((self._seed, 0, number_of_pass))
            order = rng.permutation(len(starts))
            offset = int(rng.integers(self._total)) if number_of_pass else 0
            stream = _Stream(starts[order], np.cumsum(ends[order] - starts[order] + 1), offset)
            self._streams = {number_of_pass: stream, **dict(list(self._streams.items())[:1])}
        return self._streams[number_of_pass]

    def _fill(self, row: NDArray[np.int64], stream: _Stream, position: int) -> None:
        """Copy what begins at a position of the stream into a row; after the stream's end comes its beginning."""
        filled = 0
        document = int(np.searchsorted(stream.ends, position, "right"))
        while filled < len(row):
            document %= len(stream.ends)
            begin = int(stream.ends[document - 1]) if document else 0
            skipped = position - begin if filled == 0 else 0
            size = min(int(stream.ends[document]) - begin - 1 - skipped, len(row) - filled)
            start = int(stream.starts[document]) + skipped
            row[filled : filled + size] = self._tokens.read(start, start + size)
            filled += size + 1  # the `<bos>` is there
            document += 1


class _Stream(NamedTuple):
    """Documents in one order.

    Attributes:
        starts: of the documents' tokens, in that order.
        ends: where each document with its `<bos>` ends in the stream.
        offset: of the first row in the stream.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    offset: int


class ConversationRows:
    """Whole conversations put together so that rows are full (best fit).

    A conversation that is longer than a row is cut between turns, as a chat does when its context is full: each part
    opens with `<bos>` and the system message. Where nothing fits the end of a row, the head of a conversation fills
    it; that conversation is also somewhere whole.

    Args:
        tokens: of all conversations, in the chat format without `<bos>`.
        spans: of the conversations.
        tokenizer: what made them.
        context_length: of a row, which holds one id more.
        seed: of the order.

    Attributes:
        notes: what became of what did not fit, by kind.

    Raises:
        ValueError: no conversation has a reply that fits.
    """

    def __init__(self, tokens: TokenReader, spans: Spans, tokenizer: Tokenizer, context_length: int, seed: int) -> None:
        self._tokens, self._tokenizer, self._capacity, self._seed = tokens, tokenizer, context_length + 1, seed
        starts, ends = spans
        self.notes = {
            "conversations": len(starts),
            "cut_between_turns": 0,
            "turns_truncated": 0,
            "parts_without_reply": 0,
        }
        whole = ends - starts < self._capacity
        parts = array("q")
        for start, end in zip(starts[~whole].tolist(), ends[~whole].tolist(), strict=True):
            for chunk in chunks_of(tokens.read(start, end), tokenizer, self._capacity, self.notes):
                parts.extend((start, chunk.system, start + chunk.start, chunk.stop - chunk.start))
        cut = np.frombuffer(parts, np.int64).reshape(-1, 4) if parts else np.zeros((0, 4), np.int64)
        nothing = np.zeros(int(whole.sum()), np.int64)
        # Where the system message begins and how long it is; where the turns begin and how long they are
        self._system_starts = np.concatenate((nothing, cut[:, 0]))
        self._system_sizes = np.concatenate((nothing, cut[:, 1])).astype(np.int32)
        self._starts = np.concatenate((starts[whole], cut[:, 2]))
        self._sizes = np.concatenate((ends[whole] - starts[whole], cut[:, 3])).astype(np.int32)
        if not len(self._starts):
            raise ValueError("no conversation has an assistant's turn that fits the context")
        order = np.random.default_rng((seed, 1)).permutation(len(self._starts)).astype(np.int32)
        sizes = 1 + self._system_sizes + self._sizes
        self._members, self._row_ends = _best_fit(order, sizes, self._capacity)

    def __len__(self) -> int:
        return len(self._row_ends)

    def read(self, rows: Sequence[int], number_of_pass: int = 0) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Read rows by their numbers, as `DocumentRows.read`; a pass orders the conversations of a row anew."""
        ids = np.full((len(rows), self._capacity), self._tokenizer.bos_id, np.int64)
        for number, row in enumerate(rows):
            filled = 0
            for member in self._members_of(row, number_of_pass):
                filled += 1  # the `<bos>` is there
                for starts, sizes in ((self._system_starts, self._system_sizes), (self._starts, self._sizes)):
                    size = min(int(sizes[member]), self._capacity - filled)
                    if size > 0:
                        start = int(starts[member])
                        ids[number, filled : filled + size] = self._tokens.read(start, start + size)
                        filled += size
        return ids, loss_mask(self._tokenizer, ids)

    def _members_of(self, row: int, number_of_pass: int) -> list[int]:
        """The conversations of a row in a pass's order; the last one, of which the end may not fit, stays the last."""
        members = self._members[self._row_ends[row - 1] if row else 0 : self._row_ends[row]]
        if number_of_pass and len(members) > 2:
            first = np.random.default_rng((self._seed, 2, number_of_pass, row)).permutation(members[:-1])
            members = np.concatenate((first, members[-1:]))
        return [int(member) for member in members]


class Chunk(NamedTuple):
    """Turns that stay together in a row: a span of the conversation's ids, and how much of its system message."""

    system: int
    start: int
    stop: int


def chunks_of(ids: NDArray[Any], tokenizer: Tokenizer, capacity: int, notes: MutableMapping[str, int]) -> list[Chunk]:
    """A conversation in parts that are, with `<bos>` and system message, at most `capacity` ids, each with a reply.

    Args:
        ids: in the chat format without `<bos>`.
        tokenizer: what made them.
        capacity: of a row, in ids.
        notes: counts what is lost.
    """
    turns = _turns(ids, tokenizer)
    assistant = tokenizer.role_ids["assistant"]
    if len(ids) < capacity:
        return [Chunk(0, 0, len(ids))] if any(role == assistant for role, _, _ in turns) else []
    notes["cut_between_turns"] += 1
    system = 0
    if turns[0][0] == tokenizer.role_ids["system"]:
        _, _, stop = turns.pop(0)
        system = min(stop, capacity // 2)
        notes["turns_truncated"] += stop > system
    most = capacity - 1 - system
    chunks: list[Chunk] = []
    start = stop = 0
    has_reply = False

    def close() -> None:
        if has_reply:
            chunks.append(Chunk(system, start, stop))
        elif stop > start:
            notes["parts_without_reply"] += 1

    for exchange in _exchanges(turns, tokenizer):
        begin, end = exchange[0][1], exchange[-1][2]
        if start == stop or stop - start + end - begin > most:
            close()
            start = stop = begin
            has_reply = False
        for role, turn_start, turn_stop in exchange:
            size = min(turn_stop - turn_start, most - (stop - start))
            notes["turns_truncated"] += turn_stop - turn_start > size
            # What an assistant says comes after the symbol
            has_reply |= role == assistant and size > 1
            stop += size
    close()
    return chunks


Turn = tuple[int, int, int]
"""The id of the role, where the turn starts and where it ends."""


def _turns(ids: NDArray[Any], tokenizer: Tokenizer) -> list[Turn]:
    system, user, assistant = tokenizer.role_ids["system"], tokenizer.role_ids["user"], tokenizer.role_ids["assistant"]
    starts = np.flatnonzero((ids == user) | (ids == assistant) | (ids == system)).tolist()
    return [(int(ids[start]), start, end) for start, end in zip(starts, [*starts[1:], len(ids)], strict=True)]


def _exchanges(turns: Sequence[Turn], tokenizer: Tokenizer) -> list[list[Turn]]:
    """Group turns so that each group but the first begins with the user's."""
    groups: list[list[Turn]] = []
    for turn in turns:
        if not groups or turn[0] == tokenizer.role_ids["user"]:
            groups.append([])
        groups[-1].append(turn)
    return groups


def _best_fit(
    order: NDArray[np.int32], sizes: NDArray[np.int32], capacity: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Assign chunks to rows: each goes where the least room is left, among a bounded number of open rows.

    Args:
        order: in which the chunks come.
        sizes: of the chunks, by number.
        capacity: of a row.

    Returns:
        the chunks of each row one after the other, what fills its end among them; and where each row ends in these.
    """
    members, ends = array("i"), array("q")
    rooms: list[tuple[int, int]] = []  # the room that is left in each open row, in order, and its number
    contents: dict[int, list[int]] = {}
    fillers = 0

    def close(room: int, row: int) -> None:
        nonlocal fillers
        members.extend(contents.pop(row))
        while room > 0:
            filler = int(order[fillers % len(order)])
            members.append(filler)
            room -= int(sizes[filler])
            fillers += 1
        ends.append(len(members))

    for number, (chunk, size) in enumerate(_pairs(order, sizes)):
        fitting = bisect_left(rooms, (size, -1))
        room, row = rooms.pop(fitting) if fitting < len(rooms) else (capacity, number)
        contents.setdefault(row, []).append(chunk)
        if room > size:
            insort(rooms, (room - size, row))
        else:
            close(0, row)
        if len(rooms) > _OPEN_ROWS:
            close(*rooms.pop(0))
    for room, row in rooms:
        close(room, row)
    return np.frombuffer(members, np.int32), np.frombuffer(ends, np.int64)


def _pairs(order: NDArray[np.int32], sizes: NDArray[np.int32]) -> Iterator[tuple[int, int]]:
    """Numbers and sizes in order; all of them at once as Python's numbers would be large."""
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        yield from zip(block.tolist(), sizes[block].tolist(), strict=True)
