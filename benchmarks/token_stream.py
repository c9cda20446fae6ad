"""Text as one stream of token ids that every system trains on, and what it is scored on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinylm.config import TokenizerConfig
from tinylm.data.dataset.batches import Batch
from tinylm.data.readers.front_door import iter_documents
from tinylm.errors import TinyLMError
from tinylm.evaluation import IGNORED, Window
from tinylm.tokenizer import Tokenizer, train_tokenizer

HELD_OUT = 0.02
SCORED_TOKENS = 32_768


@dataclass(frozen=True)
class TokenStream:
    """Documents one after the other, each between `<bos>` and `<eos>`.

    Attributes:
        training: uint16 [tokens].
        held_out: the last 2 % of the documents, uint16 [tokens].
        bos_id: the id of `<bos>`.
        byte_lengths: bytes of text of each id, [vocab_size].
    """

    training: NDArray[np.uint16]
    held_out: NDArray[np.uint16]
    bos_id: int
    byte_lengths: NDArray[np.int64]

    @property
    def vocab_size(self) -> int:
        """Ids that there are."""
        return len(self.byte_lengths)

    @classmethod
    def of(cls, path: Path, vocab_size: int, threads: int) -> TokenStream:
        """Read a file, and train a tokenizer on what is not held out.

        Raises:
            TinyLMError: the file cannot be read or is too small.
        """
        documents = list(iter_documents(path))
        first = int(len(documents) * (1 - HELD_OUT))
        if first == len(documents) or not first:
            raise TinyLMError(f"{path}: {len(documents)} document(s); to hold out 2 % takes fifty or more")
        tokenizer = train_tokenizer(iter(documents[:first]), vocab_size, TokenizerConfig())
        byte_lengths = np.array([len(data) for data in tokenizer.token_bytes()], np.int64)
        parts = (documents[:first], documents[first:])
        training, held_out = (_encode(part, tokenizer, threads) for part in parts)
        return cls(training, held_out, tokenizer.bos_id, byte_lengths)

    def windows(self, length: int) -> list[Window]:
        """The beginning of what is held out, in windows as they come; `<bos>` need not be foretold."""
        count = min(SCORED_TOKENS, len(self.held_out) - 1) // length
        if not count:
            raise TinyLMError(f"only {len(self.held_out)} tokens held out: less than one window; give more text")
        ids = self.held_out[: count * length + 1].astype(np.int64)
        inputs, targets = ids[:-1].reshape(count, length), ids[1:].reshape(count, length)
        targets = np.where(targets == self.bos_id, IGNORED, targets)
        return [Window(*window) for window in zip(inputs, targets, strict=True)]

    def rows(self, length: int, seed: int) -> Rows:
        """What TinyLM trains on."""
        return Rows(self, length, seed)


class Rows:
    """Rows as `tinylm train` makes them: the stream cut into pieces, each behind `<bos>`, shuffled each epoch."""

    def __init__(self, stream: TokenStream, length: int, seed: int) -> None:
        count = len(stream.training) // length
        self._rows = stream.training[: count * length].reshape(count, length)
        self._bos_id, self._seed = stream.bos_id, seed

    def batch(self, index: int, size: int) -> Batch:
        """Return batch number `index` of the batches of `size` rows."""
        numbers = range(index * size, (index + 1) * size)
        rows = np.stack([self._rows[self._order(n // len(self._rows))[n % len(self._rows)]] for n in numbers])
        targets = rows.astype(np.int64)
        inputs = np.concatenate((np.full((size, 1), self._bos_id), targets[:, :-1]), axis=1)
        segments = (inputs == self._bos_id).cumsum(axis=1) - 1
        return Batch(inputs, np.where(targets == self._bos_id, IGNORED, targets), segments)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if getattr(self, "_epoch", None) != epoch:
            self._epoch = epoch
            self._permutation = np.random.default_rng((self._seed, epoch)).permutation(len(self._rows))
        return self._permutation


def mean_loss(losses: Callable[[Sequence[Window]], float], windows: Sequence[Window]) -> float:
    """Nats a counted token.

    Args:
        losses: gives the summed negative log-likelihood of windows, in nats.
        windows: to be scored.
    """
    return losses(windows) / sum(int((window.targets != IGNORED).sum()) for window in windows)


def _encode(documents: Sequence[str], tokenizer: Tokenizer, threads: int) -> NDArray[np.uint16]:
    encoded = tokenizer.encode_batch(documents, threads)
    ids = [id_ for document in encoded for id_ in (tokenizer.bos_id, *document, tokenizer.eos_id)]
    return np.array(ids, np.uint16)
