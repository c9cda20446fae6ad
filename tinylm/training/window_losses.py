"""The loss of a torch model on windows of held-out text, for `tinylm.evaluation.score`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tinylm.evaluation import IGNORED, Window
from tinylm.training.loss import linear_cross_entropy
from tinylm.training.model import LanguageModel


def window_losses(
    loss_sum: Callable[[NDArray[np.int64], NDArray[np.int64]], Tensor], windows: Sequence[Window], batch_size: int
) -> float:
    """Sum the negative log-likelihood of windows, in nats.

    Args:
        loss_sum: the summed loss of inputs and targets, int64 [rows, length] each.
        windows: held-out windows; those of similar length are batched together.
        batch_size: rows of a batch.
    """
    total = 0.0
    ordered = sorted(windows, key=lambda window: len(window.inputs))
    for start in range(0, len(ordered), batch_size):
        batch = ordered[start : start + batch_size]
        length = max(len(window.inputs) for window in batch)
        inputs = np.zeros((len(batch), length), np.int64)
        targets = np.full((len(batch), length), IGNORED, np.int64)
        for row, window in enumerate(batch):
            inputs[row, : len(window.inputs)] = window.inputs
            targets[row, : len(window.targets)] = window.targets
        total += float(loss_sum(inputs, targets))
    return total


def model_losses(model: LanguageModel, windows: Sequence[Window], batch_size: int = 16) -> float:
    """Sum the negative log-likelihood of windows under a model in fp32, in nats; for `tinylm.evaluation.score`."""

    def loss_sum(inputs: NDArray[np.int64], targets: NDArray[np.int64]) -> Tensor:
        flat = targets.reshape(-1)
        kept = np.flatnonzero(flat != IGNORED)
        states = model.hidden(torch.from_numpy(inputs)).flatten(0, 1)[kept]
        # Logits of all positions at once would take gigabytes with the vocabulary of a pre-trained model
        return linear_cross_entropy(states, model.output.weight, torch.from_numpy(flat[kept]))

    with torch.inference_mode():
        return window_losses(loss_sum, windows, batch_size)
