"""Loss of a bundle on held-out text, computed through the decode path of chats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tinylm.evaluation import Window, negative_log_likelihood
from tinylm.runtime.session import Decoder


def decode_logits(decoder: Decoder, window: Window) -> NDArray[np.float32]:
    """Logits at every position of a window, decoded one by one: fp32 [length, vocab_size]."""
    decoder.truncate(0)
    return np.stack([row.copy() for row in _rows(decoder, window)])


def decode_losses(decoder: Decoder, windows: Sequence[Window]) -> float:
    """Summed negative log-likelihood, in nats, of windows; for `tinylm.evaluation.score`."""
    return sum(negative_log_likelihood(decode_logits(decoder, window), window.targets) for window in windows)


def _rows(decoder: Decoder, window: Window) -> Iterator[NDArray[np.float32]]:
    for id_ in window.inputs.tolist():
        logits = decoder.append([id_])
        yield logits
