"""A stage of training: what it learns from and what it is measured on."""

from __future__ import annotations

import hashlib
import sys
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
        most_steps: that are taken where minutes are the budget.
    """

    name: StageName
    batches: BatchSource
    validation: Sequence[Window]
    learning_rate: float
    most_steps: int = sys.maxsize

    def dropout_seed(self, seed: int, step: int) -> int:
        """Seed of torch's random numbers in a step; so dropout has no state that a checkpoint would have to hold.

        Args:
            seed: of the run and the process.
            step: steps taken before.
        """
        return int.from_bytes(hashlib.blake2b(f"{seed}/{self.name}/{step}".encode(), digest_size=7).digest(), "big")
