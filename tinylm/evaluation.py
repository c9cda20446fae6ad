"""Held-out text as token ids, and the quality of a model on it: loss and bits per byte.

`bits_per_byte` is the negative log2-likelihood of the text's tokens and of one `<eos>` a document, divided by the UTF-8
bytes of the text. Of conversations, the assistant's text and `<eos>` count. A sequence is scored in windows of
`context_length` without overlap, each of which begins with `<bos>`.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from tinylm.errors import RunError
from tinylm.files import write_file
from tinylm.tokenizer import Tokenizer

IGNORED = -100
"""Target id of a position that does not count (PyTorch's own convention)."""


@dataclass(frozen=True)
class TokenSequences:
    """Documents or conversations as token ids, without their opening `<bos>`.

    Attributes:
        ids: all sequences one after the other, int32 [tokens].
        supervised: which tokens count, bool [tokens].
        ends: the end of each sequence in `ids`, int64 [sequences].
    """

    ids: NDArray[np.int32]
    supervised: NDArray[np.bool_]
    ends: NDArray[np.int64]

    @classmethod
    def concatenate(cls, parts: Iterable[TokenSequences]) -> TokenSequences:
        """Join the sequences of several, in their order."""
        ids, supervised, ends = [np.zeros(0, np.int32)], [np.zeros(0, np.bool_)], [np.zeros(0, np.int64)]
        total = 0
        for part in parts:
            ids.append(part.ids)
            supervised.append(part.supervised)
            ends.append(part.ends + total)
            total += len(part.ids)
        return cls(np.concatenate(ids), np.concatenate(supervised), np.concatenate(ends))

    def __len__(self) -> int:
        return len(self.ends)

    def spans(self) -> Iterator[tuple[int, int]]:
        """Start and end of each sequence in `ids`."""
        start = 0
        for end in self.ends.tolist():
            yield start, end
            start = end

    def save(self, path: Path) -> None:
        """Write as .npz.

        Raises:
            TinyLMError: the file cannot be written.
        """
        file = io.BytesIO()
        np.savez(file, ids=self.ids, supervised=self.supervised, ends=self.ends)
        write_file(path, file.getvalue())

    @classmethod
    def load(cls, path: Path) -> TokenSequences:
        """Read what `save` wrote.

        Raises:
            RunError: the file is missing or broken.
        """
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                return cls(file["ids"], file["supervised"], file["ends"])
        except (OSError, ValueError, TypeError, KeyError, EOFError, BadZipFile) as error:
            raise RunError(f"{path}: cannot be read as held-out data ({type(error).__name__})") from None


@dataclass(frozen=True)
class Window:
    """A part of a sequence that a model scores at once.

    Attributes:
        inputs: `<bos>` and all ids but the last, int64 [length].
        targets: the ids, with `IGNORED` where one does not count, int64 [length].
    """

    inputs: NDArray[np.int64]
    targets: NDArray[np.int64]


@dataclass(frozen=True)
class Score:
    """Quality of a model on held-out text.

    Attributes:
        nll: negative log-likelihood of all counted tokens, in nats.
        tokens: counted tokens.
        bytes: UTF-8 bytes of the text of these tokens.
    """

    nll: float
    tokens: int
    bytes: int

    @classmethod
    def total(cls, scores: Iterable[Score]) -> Score:
        """Combine the scores on several texts."""
        sums = [(score.nll, score.tokens, score.bytes) for score in scores]
        return cls(sum(nll for nll, _, _ in sums), sum(n for _, n, _ in sums), sum(size for _, _, size in sums))

    @property
    def loss(self) -> float:
        """Mean negative log-likelihood of a token, in nats."""
        return self.nll / max(self.tokens, 1)

    @property
    def bits_per_byte(self) -> float:
        """Negative log2-likelihood of a byte of text."""
        return self.nll / math.log(2) / max(self.bytes, 1)


def make_windows(
    sequences: TokenSequences, context_length: int, bos_id: int, positions: int | None = None
) -> list[Window]:
    """Cut sequences into windows.

    Args:
        sequences: the held-out data.
        context_length: positions of a window, `<bos>` included.
        bos_id: the id of `<bos>`.
        positions: take only as many windows, spread evenly, as hold this number of counted positions.
    """
    # First only their places: the windows of a large file would take too much memory
    places: list[tuple[int, int]] = []
    counts: list[int] = []
    for start, end in sequences.spans():
        for first in range(start, end, context_length):
            last = min(first + context_length, end)
            counted = int(np.count_nonzero(sequences.supervised[first:last]))
            if counted:
                places.append((first, last))
                counts.append(counted)
    if positions is not None and sum(counts) > positions:
        chosen: list[int] = []
        reached = 0
        for index in spread_order(len(places)):
            chosen.append(index)
            reached += counts[index]
            if reached >= positions:
                break
        places = [places[index] for index in sorted(chosen)]
    windows: list[Window] = []
    for first, last in places:
        ids = sequences.ids[first:last].astype(np.int64)
        inputs = np.concatenate(([bos_id], ids[:-1]))
        windows.append(Window(inputs, np.where(sequences.supervised[first:last], ids, IGNORED)))
    return windows


def score(
    losses: Callable[[Sequence[Window]], float], windows: Sequence[Window], byte_lengths: NDArray[np.int64]
) -> Score:
    """Score a model.

    Args:
        losses: computes the summed negative log-likelihood of windows, in nats.
        windows: held-out windows.
        byte_lengths: bytes of text of each token id, as of `byte_lengths_of`.
    """
    targets = np.concatenate([window.targets for window in windows]) if windows else np.zeros(0, np.int64)
    counted = targets[targets != IGNORED]
    return Score(losses(windows) if len(windows) else 0.0, len(counted), int(byte_lengths[counted].sum()))


def byte_lengths_of(tokenizer: Tokenizer) -> NDArray[np.int64]:
    """Count the UTF-8 bytes of each token id, int64 [vocab_size]."""
    return np.array([len(data) for data in tokenizer.token_bytes()], np.int64)


def negative_log_likelihood(logits: NDArray[np.float32], targets: NDArray[np.int64]) -> float:
    """Sum the negative log-likelihood of the counted targets by logits [length, vocab_size], in nats; in fp64."""
    counted = targets != IGNORED
    chosen = logits[counted].astype(np.float64)
    highest = chosen.max(axis=-1)
    normalizer = highest + np.log(np.exp(chosen - highest[:, None]).sum(axis=-1))
    picked = chosen[np.arange(len(chosen)), targets[counted]]
    return float((normalizer - picked).sum())


def spread_order(count: int) -> list[int]:
    """Order the numbers below `count` so that any first few are spread over the whole range.

    The numbers are visited with a fixed stride near the golden ratio times `count`.
    """
    stride = max(1, round(count * 0.6180339887))
    while math.gcd(stride, count) != 1:
        stride += 1
    return [index * stride % count for index in range(count)]
