"""What the training loop trains: a model, and the stages of its training."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tinylm.data.dataset.batches import Batch
from tinylm.evaluation import Window
from tinylm.run_folder import StageName
from tinylm.training.model import LanguageModel


class BatchSource(Protocol):
    """An endless sequence of batches, any of which can be asked for at any time."""

    def batch(self, index: int, size: int) -> Batch:
        """Return batch number `index` of the batches of `size` rows."""
        ...


@dataclass(frozen=True)
class Stage:
    """One stage of training.

    Attributes:
        name: pretrain or finetune.
        batches: the training data.
        validation: held-out windows, which may be empty.
        learning_rate: the peak learning rate.
        most_steps: that are taken where minutes are the budget.
        epoch_steps: of a pass over the training data; 0: not known.
    """

    name: StageName
    batches: BatchSource
    validation: Sequence[Window]
    learning_rate: float
    most_steps: int = sys.maxsize
    epoch_steps: float = 0.0

    def dropout_seed(self, seed: int, step: int) -> int:
        """Seed of torch's random numbers in a step; so dropout has no state that a checkpoint would have to hold.

        Args:
            seed: of the run and the process.
            step: steps taken before.
        """
        return int.from_bytes(hashlib.blake2b(f"{seed}/{self.name}/{step}".encode(), digest_size=7).digest(), "big")


@dataclass(frozen=True)
class Task:
    """A model and what it learns.

    Attributes:
        model: fresh or loaded weights.
        stages: pre-training, fine-tuning or both, in this order.
        byte_lengths: UTF-8 bytes of text of each token id, for bits per byte, int64 [vocab_size].
    """

    model: LanguageModel
    stages: Sequence[Stage]
    byte_lengths: NDArray[np.int64]


@dataclass(frozen=True)
class NewTraining:
    """The start of a new run.

    Attributes:
        deadline: `time.monotonic()` at which everything should be done; used where the configuration has no steps.
        follow_load: whether the number of CPU threads follows what other programs leave of the machine.
    """

    deadline: float | None = None
    follow_load: bool = False
