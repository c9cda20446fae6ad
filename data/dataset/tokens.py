"""Tokenization of a stream of examples in several threads, and token ids on disk."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tinylm.chat_format import Example, encode_examples, loss_mask, texts_of
from tinylm.evaluation import TokenSequences
from tinylm.tokenizer import Tokenizer

_BATCH_CHARACTERS = 1 << 18


class TokenReader(Protocol):
    """A sequence of token ids with random access."""

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return the ids from `start` up to `stop`, integers [stop - start]."""
        ...


class TokenFile:
    """Token ids in a file, which is read and not mapped: mapped pages count as memory of the process once read.

    Args:
        path: the file.
        dtype: of an id.
    """

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self._file = path.open("rb", buffering=0)
        self._dtype = dtype

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return the ids from `start` up to `stop`."""
        width = self._dtype.itemsize
        self._file.seek(start * width)
        ids = np.frombuffer(self._file.read((stop - start) * width), self._dtype)
        if len(ids) != stop - start:
            raise OSError(f"{self._file.name}: ends before token {stop}")
        return ids


def id_type(tokenizer: Tokenizer) -> np.dtype[Any]:
    """The smallest little-endian integer type that holds every id of the vocabulary."""
    return np.dtype("<u2" if tokenizer.vocab_size <= 1 << 16 else "<u4")


def tokenize(
    examples: Iterable[Example], tokenizer: Tokenizer, threads: int
) -> Iterator[tuple[NDArray[Any], NDArray[np.int64]]]:
    """Tokenize a stream of examples in several threads, in batches and in order.

    Args:
        examples: documents and conversations.
        tokenizer: encodes them.
        threads: the batches do not depend on their number.

    Yields:
        ids: of the examples of a batch one after the other, as `encode_examples` encodes them.
        lengths: of each example, int64.
    """
    dtype = id_type(tokenizer)
    pending: deque[Future[tuple[NDArray[Any], NDArray[np.int64]]]] = deque()
    with ThreadPoolExecutor(max(1, threads)) as pool:
        for batch in _batches(examples):
            pending.append(pool.submit(_tokenize_batch, batch, tokenizer, dtype))
            if len(pending) > 2 * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def tokenize_all(examples: Iterable[Example], tokenizer: Tokenizer, threads: int = 1) -> TokenSequences:
    """Tokenize examples into memory, with their loss mask; see `tokenize`."""
    batches = list(tokenize(examples, tokenizer, threads))
    ids = [batch.astype(np.int32) for batch, _ in batches]
    lengths = [length for _, length in batches]
    flat = np.concatenate(ids) if ids else np.zeros(0, np.int32)
    ends = np.cumsum(np.concatenate(lengths), dtype=np.int64) if lengths else np.zeros(0, np.int64)
    return TokenSequences(flat, loss_mask(tokenizer, flat), ends)


def _tokenize_batch(
    batch: list[Example], tokenizer: Tokenizer, dtype: np.dtype[Any]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    encoded = encode_examples(tokenizer, batch)
    lengths = np.array([len(ids) for ids in encoded], np.int64)
    return np.fromiter(chain.from_iterable(encoded), dtype, int(lengths.sum())), lengths


def _batches(examples: Iterable[Example]) -> Iterator[list[Example]]:
    batch: list[Example] = []
    size = 0
    for example in examples:
        batch.append(example)
        size += sum(map(len, texts_of(example))) + 1
        if size >= _BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
