"""A stage of training: what it learns from and what it is measured on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tinylm.evaluation import Window
from tinylm.run_folder import StageName


class BatchSource(Protocol):
    """An endless sequence of batches, any of which can be asked for at any time."""

    def batch(self, index: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Inputs and targets of batch `index`, int64 [size, context_length]; targets may be `IGNORED`."""
        ...


@dataclass(frozen=True)
class Stage:
    """One stage of training.

    Attributes:
        name: pretrain or finetune.
        batches: what is trained on.
        validation: held-out windows; empty where there are none.
        learning_rate: the peak.
    """

    name: StageName
    batches: BatchSource
    validation: Sequence[Window]
    learning_rate: float
