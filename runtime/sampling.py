"""From logits to the next token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinylm.errors import ConfigError, TinyLMError


@dataclass(frozen=True)
class SamplingOptions:
    """How the next token is chosen.

    Attributes:
        temperature: 0 takes the likeliest token (greedy); 1 samples from the model's own distribution.
        top_k: sample among the so many likeliest tokens; 0: among all.
        top_p: sample among the likeliest tokens that together reach this probability; 1: among all.
        seed: of the random numbers; None draws one.
        max_new_tokens: length of a reply, at most.

    Raises:
        ConfigError: an option is out of range.
    """

    temperature: float = 0.7
    top_k: int = 40
    top_p: float = 0.95
    seed: int | None = None
    max_new_tokens: int = 256

    def __post_init__(self) -> None:
        for wrong, message in (
            (not 0 <= self.temperature <= 100, f"temperature must be between 0 and 100, not {self.temperature:g}"),
            (self.top_k < 0, f"top-k must be 0 (all) or more, not {self.top_k}"),
            (not 0 < self.top_p <= 1, f"top-p must be above 0 and at most 1, not {self.top_p:g}"),
            (self.seed is not None and self.seed < 0, f"seed must be 0 or more, not {self.seed}"),
            (self.max_new_tokens < 1, f"max-new-tokens must be 1 or more, not {self.max_new_tokens}"),
        ):
            if wrong:
                raise ConfigError(message)


class Sampler:
    """Chooses tokens; equal seeds choose equally.

    Args:
        options: see `SamplingOptions`.
        never: ids that are never chosen: the model cannot speak for another role.
    """

    def __init__(self, options: SamplingOptions, never: Sequence[int]) -> None:
        self.options = options
        self._never = np.array(never, np.int64)
        self._random = np.random.default_rng(options.seed)

    def choose(self, logits: NDArray[np.float32]) -> int:
        """The next token's id.

        Args:
            logits: fp32 [vocab_size]; those of ids that are never chosen are overwritten.

        Raises:
            TinyLMError: the logits are not numbers.
        """
        options = self.options
        logits[self._never] = -np.inf
        highest = float(logits.max())
        if not np.isfinite(highest):
            if np.isnan(highest):
                raise TinyLMError("the model's logits are not numbers (NaN): its weights are broken; export it again")
            np.nan_to_num(logits, copy=False)
            logits[self._never] = -np.inf
            highest = float(logits.max())
        if options.temperature == 0 or options.top_k == 1:
            return int(logits.argmax())
        candidates: NDArray[np.int64] | None = None
        if 0 < options.top_k < len(logits):
            candidates = np.argpartition(logits, -options.top_k)[-options.top_k :]
            logits = logits[candidates]
        # fp64, and relative to the highest: what overflows is minus infinity, a probability of 0
        with np.errstate(over="ignore"):
            scaled = (logits.astype(np.float64) - highest) / options.temperature
        probabilities = np.exp(scaled)
        probabilities /= probabilities.sum()
        if options.top_p < 1:
            order = np.argsort(-probabilities, kind="stable")
            reached = np.cumsum(probabilities[order])
            kept = order[: int(np.searchsorted(reached, options.top_p)) + 1]
            candidates = kept if candidates is None else candidates[kept]
            probabilities = probabilities[kept]
        reached = np.cumsum(probabilities)
        index = int(np.searchsorted(reached, self._random.random() * reached[-1], side="right"))
        index = min(index, len(probabilities) - 1)
        return index if candidates is None else int(candidates[index])
