"""Batches of training: an endless sequence with random access, so that a resumed run continues with the next one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tinylm.evaluation import IGNORED


class Batch(NamedTuple):
    """Rows of a training step.

    Attributes:
        inputs: token ids, int64 [rows, context_length].
        targets: the ids that follow them; `IGNORED` where one does not count.
        segments: number of the document or conversation of each input in its row, int64, rising from 0; None: one a
            row.
    """

    inputs: NDArray[np.int64]
    targets: NDArray[np.int64]
    segments: NDArray[np.int64] | None = None


class PackedRows(NamedTuple):
    """Rows of ids, each row with one id more than its inputs.

    Attributes:
        ids: int64 [rows, context_length + 1].
        is_target: which of them are targets.
        segments: number of the document or conversation of each id in its row, int64, rising from 0.
    """

    ids: NDArray[np.int64]
    is_target: NDArray[np.bool_]
    segments: NDArray[np.int64]


class Rows(Protocol):
    """Rows of token ids that are read by their numbers."""

    def __len__(self) -> int: ...

    def read(self, rows: Sequence[int], number_of_pass: int = 0) -> PackedRows:
        """Read rows by their numbers.

        Args:
            rows: their numbers.
            number_of_pass: each pass over the data may cut and order it differently; each pass holds all of the data.
        """
        ...


class Part(NamedTuple):
    """A group of rows, and how many of them are in an epoch."""

    rows: Rows
    per_epoch: int


class Batches:
    """Rows of one or several parts, mixed and shuffled in each epoch.

    Where an epoch has only some rows of a part, the next epoch continues with the others, so that all rows of a part
    are seen equally often.

    Args:
        parts: at least one; each has rows.
        seed: of the shuffling.
    """

    def __init__(self, parts: Sequence[Part], seed: int) -> None:
        self.parts, self.seed = tuple(parts), seed
        self._epoch: tuple[int, NDArray[np.int64]] | None = None

    @property
    def rows_per_epoch(self) -> int:
        """Number of rows in an epoch."""
        return sum(part.per_epoch for part in self.parts)

    def batch(self, index: int, size: int) -> Batch:
        """Return batch number `index` of the sequence of batches of `size` rows."""
        count = self.rows_per_epoch
        numbers = range(index * size, (index + 1) * size)
        drawn = np.array([self._order(number // count)[number % count] for number in numbers])
        inputs: NDArray[np.int64] | None = None
        for source, number_of_pass in np.unique(drawn[:, :2], axis=0).tolist():
            chosen = (drawn[:, :2] == (source, number_of_pass)).all(axis=1)
            read = self.parts[source].rows.read(drawn[chosen, 2].tolist(), number_of_pass)
            if inputs is None:
                inputs = np.empty((size, read.ids.shape[1] - 1), np.int64)
                targets, segments = np.empty_like(inputs), np.empty_like(inputs)
            inputs[chosen] = read.ids[:, :-1]
            targets[chosen] = np.where(read.is_target[:, 1:], read.ids[:, 1:], IGNORED)
            segments[chosen] = read.segments[:, :-1]
        assert inputs is not None
        return Batch(inputs, targets, segments if segments.any() else None)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """Shuffle the rows of an epoch: the numbers of part, pass and row of each, [rows_per_epoch, 3]."""
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = None  # frees its memory before the next one is made
            order = np.concatenate(
                [piece for number, part in enumerate(self.parts) for piece in self._rows_of(number, part, epoch)]
            )
            np.random.default_rng((self.seed, epoch)).shuffle(order)
            self._epoch = (epoch, order)
        return self._epoch[1]

    def _rows_of(self, number: int, part: Part, epoch: int) -> list[NDArray[np.int64]]:
        """The rows of a part in an epoch, from one pass or several; each pass has its own order."""
        count = len(part.rows)
        position, end = epoch * part.per_epoch, (epoch + 1) * part.per_epoch
        pieces: list[NDArray[np.int64]] = []
        while position < end:
            number_of_pass, first = divmod(position, count)
            order = np.random.default_rng((self.seed, number, number_of_pass)).permutation(count)
            rows = order[first : first + end - position]
            pieces.append(np.column_stack((np.full_like(rows, number), np.full_like(rows, number_of_pass), rows)))
            position += len(rows)
        return pieces
