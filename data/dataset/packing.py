"""Packing: rows of token ids from documents, one after the other, and from whole conversations.

Only the positions of documents and conversations are in memory; ids are read when a row is needed.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections.abc import Iterator, MutableMapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinylm.chat_format import Role, find_turns, loss_mask
from tinylm.data.dataset.batches import PackedRows
from tinylm.data.dataset.tokens import TokenReader
from tinylm.tokenizer import Tokenizer

_OPEN_ROWS = 64
_BLOCK = 1 << 16

Bounds = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Start and end of each sequence in a `TokenReader`."""


class PackedDocuments:
    """Documents one after the other, cut into rows that each open with `<bos>`.

    The rows of a pass hold each token once as a target. The last row overlaps the one before it, with the overlapping
    targets masked; a text that is shorter than a row is padded with `<bos>`.

    Each pass has its own order of documents, and its rows begin at other tokens. Where a text is seen many times, a
    model learns little from rows that are always the same (docs/experiments.md).

    Args:
        tokens: of all documents, each with its `<eos>`.
        bounds: of the documents.
        tokenizer: what encoded them.
        context_length: of a row, which holds one id more.
        seed: of the order.
    """

    def __init__(
        self, tokens: TokenReader, bounds: Bounds, tokenizer: Tokenizer, context_length: int, seed: int
    ) -> None:
        self._tokens, self._tokenizer, self._context, self._seed = tokens, tokenizer, context_length, seed
        self._bounds = bounds
        starts, ends = bounds
        # Each document is followed by the `<bos>` of the next
        self._total = int((ends - starts + 1).sum())
        self._streams: dict[int, _Stream] = {}

    def __len__(self) -> int:
        # The last `<bos>` is no target and needs no row of its own
        return max(1, -(-(self._total - 1) // self._context))

    def read(self, rows: Sequence[int], number_of_pass: int = 0) -> PackedRows:
        """Read rows of a pass by their numbers."""
        stream = self._stream(number_of_pass)
        size = min(self._context, self._total)
        ids = np.full((len(rows), self._context + 1), self._tokenizer.bos_id, np.int64)
        is_new = np.ones(ids.shape, np.bool_)
        opens = np.zeros(ids.shape, np.bool_)
        for number, row in enumerate(rows):
            position = min(row * self._context, self._total - size)
            place = (stream.offset + position) % self._total
            self._fill(ids[number, 1 : 1 + size], opens[number, 1 : 1 + size], stream, place)
            is_new[number, 1 : 1 + row * self._context - position] = False
        return PackedRows(ids, loss_mask(self._tokenizer, ids) & is_new, opens.cumsum(axis=1))

    def _stream(self, number_of_pass: int) -> _Stream:
        """The documents in the order of a pass. Two passes are kept, as a batch may have rows of both."""
        if number_of_pass not in self._streams:
            starts, ends = self._bounds
            rng = np.random.default_rng((self._seed, 0, number_of_pass))
            order = rng.permutation(len(starts))
            stream_ends = np.cumsum(ends[order] - starts[order] + 1)
            offset = int(rng.integers(self._total)) if number_of_pass and self._total > self._context else 0
            if len(self) * self._context < self._total:
                # The rows hold all ids but the last: begin with a document, so that this is a `<bos>`
                offset = int(stream_ends[np.searchsorted(stream_ends, offset, "right")]) % self._total
            stream = _Stream(starts[order], stream_ends, offset)
            self._streams = {number_of_pass: stream, **dict(list(self._streams.items())[:1])}
        return self._streams[number_of_pass]

    def _fill(self, row: NDArray[np.int64], opens: NDArray[np.bool_], stream: _Stream, position: int) -> None:
        """Copy the ids from a position of the stream into a row; the stream's beginning follows its end.

        Args:
            row: what is filled.
            opens: set where a further document begins in it.
            stream: the documents.
            position: of the first id.
        """
        filled = 0
        document = int(np.searchsorted(stream.ends, position, "right"))
        while filled < len(row):
            document %= len(stream.ends)
            begin = int(stream.ends[document - 1]) if document else 0
            skipped = position - begin if filled == 0 else 0
            size = min(int(stream.ends[document]) - begin - 1 - skipped, len(row) - filled)
            start = int(stream.starts[document]) + skipped
            row[filled : filled + size] = self._tokens.read(start, start + size)
            filled += size + 1  # a row is filled with `<bos>` before
            opens[filled - 1 : filled] = True
            document += 1


class _Stream(NamedTuple):
    """The documents of a pass, one after the other.

    Attributes:
        starts: of each document in the tokens.
        ends: of each document, with the `<bos>` behind it, in the stream.
        offset: of the first row in the stream.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    offset: int


class PackedConversations:
    """Whole conversations, packed into rows (best fit); the rest of a row is padded with `<bos>`.

    A conversation that is longer than a row is cut between turns, as a chat does when its context is full: each part
    opens with `<bos>` and the system message. Each other token is in the rows of a pass once.

    Args:
        tokens: of all conversations, in the chat format without `<bos>`.
        bounds: of the conversations.
        tokenizer: what encoded them.
        context_length: of a row, which holds one id more.
        seed: of the order.

    Attributes:
        notes: counts of conversations, and of what did not fit.

    Raises:
        ValueError: no conversation has a reply that fits.
    """

    def __init__(
        self, tokens: TokenReader, bounds: Bounds, tokenizer: Tokenizer, context_length: int, seed: int
    ) -> None:
        self._tokens, self._tokenizer, self._capacity, self._seed = tokens, tokenizer, context_length + 1, seed
        starts, ends = bounds
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
        # Start and size of the system message, and start and size of the turns
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

    def read(self, rows: Sequence[int], number_of_pass: int = 0) -> PackedRows:
        """Read rows by their numbers; each pass orders the conversations of a row anew."""
        ids = np.full((len(rows), self._capacity), self._tokenizer.bos_id, np.int64)
        segments = np.zeros_like(ids)
        for number, row in enumerate(rows):
            filled = 0
            for segment, member in enumerate(self._members_of(row, number_of_pass)):
                segments[number, filled:] = segment
                filled += 1  # a row is filled with `<bos>` before
                for starts, sizes in ((self._system_starts, self._system_sizes), (self._starts, self._sizes)):
                    start, size = int(starts[member]), int(sizes[member])
                    ids[number, filled : filled + size] = self._tokens.read(start, start + size)
                    filled += size
        return PackedRows(ids, loss_mask(self._tokenizer, ids), segments)

    def _members_of(self, row: int, number_of_pass: int) -> list[int]:
        """The conversations of a row in the order of a pass."""
        members = self._members[self._row_ends[row - 1] if row else 0 : self._row_ends[row]]
        if number_of_pass and len(members) > 1:
            members = np.random.default_rng((self._seed, 2, number_of_pass, row)).permutation(members)
        return [int(member) for member in members]


class Chunk(NamedTuple):
    """Turns of a conversation that are packed together.

    Attributes:
        system: size of the system message that opens them.
        start, stop: of the turns in the conversation's ids.
    """

    system: int
    start: int
    stop: int


def chunks_of(ids: NDArray[Any], tokenizer: Tokenizer, capacity: int, notes: MutableMapping[str, int]) -> list[Chunk]:
    """Cut a conversation into parts, each with a reply and of at most `capacity` ids with `<bos>` and system message.

    Args:
        ids: in the chat format without `<bos>`.
        tokenizer: what encoded them.
        capacity: of a row, in ids.
        notes: the counts of what did not fit, which are increased.
    """
    turns = _turns(ids, tokenizer)
    if len(ids) < capacity:
        return [Chunk(0, 0, len(ids))] if any(turn.role == "assistant" for turn in turns) else []
    notes["cut_between_turns"] += 1
    system = 0
    if turns[0].role == "system":
        opening = turns.pop(0)
        system = min(opening.stop, capacity // 2)
        notes["turns_truncated"] += opening.stop > system
    most = capacity - 1 - system
    chunks: list[Chunk] = []
    start = stop = 0
    has_reply = False

    def close() -> None:
        if has_reply:
            chunks.append(Chunk(system, start, stop))
        elif stop > start:
            notes["parts_without_reply"] += 1

    opened = len(tokenizer.chat_format.assistant.before)
    for exchange in _exchanges(turns):
        begin, end = exchange[0].start, exchange[-1].stop
        if start == stop or stop - start + end - begin > most:
            close()
            start = stop = begin
            has_reply = False
        for turn in exchange:
            size = min(turn.stop - turn.start, most - (stop - start))
            notes["turns_truncated"] += turn.stop - turn.start > size
            # More than what opens the reply
            has_reply |= turn.role == "assistant" and size > opened
            stop += size
    close()
    return chunks


class _TurnBounds(NamedTuple):
    """The role of a turn, and the turn's start and end in the ids of a conversation."""

    role: Role
    start: int
    stop: int


def _turns(ids: NDArray[Any], tokenizer: Tokenizer) -> list[_TurnBounds]:
    roles, starts = find_turns(tokenizer, ids)
    stops = [*starts[1:], len(ids)]
    return [_TurnBounds(*turn) for turn in zip(roles, starts, stops, strict=True)]


def _exchanges(turns: Sequence[_TurnBounds]) -> list[list[_TurnBounds]]:
    """Group turns into exchanges: each but the first begins with a user's turn."""
    groups: list[list[_TurnBounds]] = []
    for turn in turns:
        if not groups or turn.role == "user":
            groups.append([])
        groups[-1].append(turn)
    return groups


def _best_fit(
    order: NDArray[np.int32], sizes: NDArray[np.int32], capacity: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Assign chunks to rows: each goes to the fullest row that has room, among a bounded number of open rows.

    Args:
        order: in which the chunks come.
        sizes: of the chunks, by number.
        capacity: of a row.

    Returns:
        the chunks of all rows one after the other, and the end of each row in them.
    """
    members, ends = array("i"), array("q")
    rooms: list[tuple[int, int]] = []  # room left in each open row, sorted, and the number of the row
    contents: dict[int, list[int]] = {}

    def close(row: int) -> None:
        members.extend(contents.pop(row))
        ends.append(len(members))

    for number, (chunk, size) in enumerate(_pairs(order, sizes)):
        fitting = bisect_left(rooms, (size, -1))
        room, row = rooms.pop(fitting) if fitting < len(rooms) else (capacity, number)
        contents.setdefault(row, []).append(chunk)
        if room > size:
            insort(rooms, (room - size, row))
        else:
            close(row)
        if len(rooms) > _OPEN_ROWS:
            close(rooms.pop(0)[1])
    for _, row in rooms:
        close(row)
    return np.frombuffer(members, np.int32), np.frombuffer(ends, np.int64)


def _pairs(order: NDArray[np.int32], sizes: NDArray[np.int32]) -> Iterator[tuple[int, int]]:
    """Numbers and sizes as Python's integers, a block at a time to save memory."""
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        yield from zip(block.tolist(), sizes[block].tolist(), strict=True)
