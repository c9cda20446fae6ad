"""Loss of a bundle on held-out text, computed through the decode path of chats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tinylm.evaluation import Window, negative_log_likelihood
from tinylm.runtime.logprobs import log_softmax
from tinylm.runtime.session import Decoder


def decode_logits(decoder: Decoder, window: Window) -> NDArray[np.float32]:
    """Logits at every position of a window, decoded one by one: fp32 [length, vocab_size]."""
    decoder.truncate(0)
    return np.stack([row.copy() for row in _rows(decoder, window)])


def decode_losses(decoder: Decoder, windows: Sequence[Window]) -> float:
    """Summed negative log-likelihood, in nats, of windows; for `tinylm.evaluation.score`."""
    return sum(negative_log_likelihood(decode_logits(decoder, window), window.targets) for window in windows)


def continuation_losses(decoder: Decoder, continuations: Sequence[Sequence[int]]) -> list[float]:
    """Summed negative log-likelihood, in nats, of each of several continuations of the decoder's sequence.

    The cache of the sequence is used for each of them, and the sequence stays as it is. It must not be empty.

    Args:
        decoder: the model and the sequence.
        continuations: token ids of each, at least one.

    Raises:
        ContextFullError: the longest does not fit into the context.
    """
    length, last = decoder.length, decoder.ids[-1]
    decoder.truncate(length - 1)
    first = log_softmax(decoder.append([last]))
    losses: list[float] = []
    for ids in continuations:
        loss = -float(first[ids[0]])
        for before, id_ in pairwise(ids):
            loss -= float(log_softmax(decoder.append([before]))[id_])
        losses.append(loss)
        decoder.truncate(length)
    return losses


def _rows(decoder: Decoder, window: Window) -> Iterator[NDArray[np.float32]]:
    for id_ in window.inputs.tolist():
        logits = decoder.append([id_])
        yield logits
