"""Token ids of any amount, read where they are asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tinylm.chat_format import Conversation
from tinylm.data.dataset.held_out import texts_of
from tinylm.evaluation import TokenSequences
from tinylm.tokenizer import Tokenizer

_BATCH_CHARACTERS = 1 << 18
# A longer text is tokenized in pieces: SentencePiece takes some hundred times a text in memory
_PIECE_CHARACTERS = 1 << 16


class TokenReader(Protocol):
    """Token ids one after the other."""

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """The ids from `start` up to `stop`, integers [stop - start]."""
        ...


class TokenArray:
    """Token ids in memory."""

    def __init__(self, ids: NDArray[Any]) -> None:
        self._ids = ids

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """The ids from `start` up to `stop`."""
        return self._ids[start:stop]


class TokenFile:
    """Token ids in a file. It is read and not mapped: mapped pages, once touched, count as memory of the process."""

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self._file = path.open("rb", buffering=0)
        self._dtype = dtype

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """The ids from `start` up to `stop`."""
        width = self._dtype.itemsize
        self._file.seek(start * width)
        ids = np.frombuffer(self._file.read((stop - start) * width), self._dtype)
        if len(ids) != stop - start:
            raise OSError(f"{self._file.name}: ends before token {stop}")
        return ids


def id_type(tokenizer: Tokenizer) -> np.dtype[Any]:
    """Little-endian integers, as small as the vocabulary allows."""
    return np.dtype("<u2" if tokenizer.vocab_size <= 1 << 16 else "<u4")


def encode_examples(
    examples: Iterable[str | Conversation], tokenizer: Tokenizer, threads: int
) -> Iterator[tuple[NDArray[Any], NDArray[np.int64]]]:
    """Tokenize a stream on several threads, batch by batch and in order; the batches do not depend on the threads.

    Yields:
        ids: of the examples of a batch one after the other. A document is its ids and `<eos>`; a conversation is in
            the chat format without its `<bos>`.
        lengths: of each of them.
    """
    dtype = id_type(tokenizer)
    pending: deque[Future[tuple[NDArray[Any], NDArray[np.int64]]]] = deque()
    with ThreadPoolExecutor(max(1, threads)) as pool:
        for batch in _batches(examples):
            pending.append(pool.submit(_encode_batch, batch, tokenizer, dtype))
            if len(pending) > 2 * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def encode_all(examples: Iterable[str | Conversation], tokenizer: Tokenizer, threads: int = 1) -> TokenSequences:
    """Tokenize what fits in memory, as `encode_examples` does, with what the model is to say of it."""
    batches = list(encode_examples(examples, tokenizer, threads))
    ids = [batch.astype(np.int32) for batch, _ in batches]
    lengths = [length for _, length in batches]
    flat = np.concatenate(ids) if ids else np.zeros(0, np.int32)
    ends = np.cumsum(np.concatenate(lengths), dtype=np.int64) if lengths else np.zeros(0, np.int64)
    return TokenSequences(flat, supervised_of(flat, tokenizer), ends)


def supervised_of(ids: NDArray[Any], tokenizer: Tokenizer) -> NDArray[np.bool_]:
    """Which tokens the model is to learn to say: documents, and of conversations what assistants say with its `<eos>`.

    Told by the symbols alone, which no text can forge.

    Args:
        ids: sequences along the last axis, with or without `<bos>`.
        tokenizer: what made them.
    """
    silent = [tokenizer.role_ids["system"], tokenizer.role_ids["user"]]
    marks = np.isin(ids, [tokenizer.bos_id, *tokenizer.role_ids.values()])
    positions = np.where(marks, np.arange(ids.shape[-1]), 0)
    last = np.take_along_axis(ids, np.maximum.accumulate(positions, axis=-1), axis=-1)
    supervised: NDArray[np.bool_] = ~marks & ~np.isin(last, silent)
    return supervised


def _encode_batch(
    batch: list[str | Conversation], tokenizer: Tokenizer, dtype: np.dtype[Any]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    texts = _encode(tokenizer, [text for example in batch for text in texts_of(example)])
    parts: list[list[int]] = []
    lengths: list[int] = []
    eos = [tokenizer.eos_id]
    for example in batch:
        if isinstance(example, str):
            parts += [next(texts), eos]
            lengths.append(len(parts[-2]) + 1)
            continue
        length = 0
        for message in example:
            turn = [[tokenizer.role_ids[message["role"]]], next(texts)]
            if message["role"] == "assistant":
                turn.append(eos)
            parts += turn
            length += sum(map(len, turn))
        lengths.append(length)
    ids = np.fromiter(chain.from_iterable(parts), dtype, sum(lengths))
    return ids, np.array(lengths, np.int64)


def _encode(tokenizer: Tokenizer, texts: list[str]) -> Iterator[list[int]]:
    """The ids of texts. No token reaches over a line end, so a long text may be cut there."""
    pieces = [list(_pieces(text)) for text in texts]
    encoded = iter(tokenizer.encode_batch(list(chain.from_iterable(pieces))))
    for parts in pieces:
        yield next(encoded) if len(parts) == 1 else list(chain.from_iterable(islice(encoded, len(parts))))


def _pieces(text: str) -> Iterator[str]:
    start = 0
    while len(text) - start > _PIECE_CHARACTERS:
        end = text.find("\n", start + _PIECE_CHARACTERS) + 1
        if not end:
            break
        yield text[start:end]
        start = end
    yield text[start:] if start else text


def _batches(examples: Iterable[str | Conversation]) -> Iterator[list[str | Conversation]]:
    batch: list[str | Conversation] = []
    size = 0
    for example in examples:
        batch.append(example)
        size += sum(map(len, texts_of(example))) + 1
        if size >= _BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
