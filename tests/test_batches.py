"""Batches: inputs and targets, each row once an epoch, any batch at any time."""

import numpy as np
import pytest
from rows import ArrayRows, batches_of_rows

from tinylm.evaluation import IGNORED


def numbered_rows(rows, context=4, seed=1):
    ids = np.arange(rows * (context + 1), dtype=np.uint16).reshape(rows, context + 1)
    supervised = ids % 3 != 0
    return batches_of_rows(ArrayRows(ids, supervised), seed)


def test_a_batch_is_inputs_and_the_tokens_after_them():
    rows = numbered_rows(6)
    inputs, targets, segments = rows.batch(0, 4)
    assert segments is None
    assert inputs.dtype == targets.dtype == np.int64
    assert inputs.shape == targets.shape == (4, 4)
    following = inputs + 1
    assert np.array_equal(targets, np.where(following % 3 != 0, following, IGNORED))
    assert rows.rows_per_epoch == 6


@pytest.mark.parametrize(("count", "size"), [(7, 3), (5, 5), (2, 7), (1, 4), (12, 4)])
def test_each_epoch_visits_each_row_once(count, size):
    rows = numbered_rows(count)
    visited = [int(first) // 5 for index in range(count * 3) for first in rows.batch(index, size)[0][:, 0]]
    epochs = [visited[start : start + count] for start in range(0, len(visited), count)]
    assert all(sorted(epoch) == list(range(count)) for epoch in epochs)
    if count > 4:
        assert len({tuple(epoch) for epoch in epochs}) > 1


def test_any_batch_can_be_asked_for_at_any_time():
    rows = numbered_rows(7)
    sequential = [rows.batch(index, 3) for index in range(20)]
    for index in (19, 0, 7, 2, 11, 3):
        for rows_again in (rows, numbered_rows(7)):
            for found, expected in zip(rows_again.batch(index, 3), sequential[index], strict=True):
                assert found is expected is None or np.array_equal(found, expected)
    assert not np.array_equal(numbered_rows(7, seed=2).batch(0, 7)[0], sequential[0][0])
