"""Sampling: choose the next token from its logits."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tinylm.errors import ConfigError, TinyLMError

if TYPE_CHECKING:
    from tinylm.tokenizer import Tokenizer

REPETITION_WINDOW = 64
"""The repetition penalty applies to so many of the last tokens, as in llama.cpp."""

Number = TypeVar("Number", np.float32, np.float64)

_GROUPS = 128
_FEW = 64
_LARGEST_BIAS = 100.0
_LARGEST_PENALTY = 2.0


@dataclass(frozen=True)
class SamplingOptions:
    """How the next token is chosen, and when a reply ends.

    Attributes:
        temperature: 0 takes the most likely token (greedy decoding); 1 samples from the model's own distribution.
        top_k: sample from this many of the most likely tokens; 0 or -1: from all. -1 is stored as 0.
        top_p: sample from the fewest most likely tokens whose probabilities sum to at least this; 1: from all; 0:
            always the most likely token (nucleus sampling, Holtzman et al. 2020).
        seed: seed of the random number generator; None or -1: a random one. -1 is stored as None.
        max_new_tokens: maximum length of a reply in tokens; -1: as long as the context has room.
        min_p: sample from the tokens whose probability is at least this fraction of the highest; 0: from all (Nguyen
            et al. 2024).
        repetition_penalty: divides positive and multiplies negative logits of the last `REPETITION_WINDOW` tokens
            (Keskar et al. 2019); 1: no change.
        presence_penalty: subtracted from the logits of tokens that the reply contains, from -2 to 2.
        frequency_penalty: subtracted from these logits once per occurrence, from -2 to 2. Both as in OpenAI's API.
        stop: texts that end the reply and are not part of it.
        logit_bias: values from -100 to 100 to add to the logits, by token id.
        choices: texts of which the reply must be one; empty: any text.
        json_schema: the reply must be JSON that is valid against this schema; `{}` is any JSON. Needs llguidance.
        regex: the reply as a whole must match this regular expression. Needs llguidance.

    Raises:
        ConfigError: an option is out of range, or there are several of `choices`, `json_schema` and `regex`.
    """

    temperature: float = 0.7
    top_k: int = 40
    top_p: float = 0.95
    seed: int | None = None
    max_new_tokens: int = 256
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    stop: Sequence[str] = ()
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    choices: Sequence[str] = ()
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    json_schema: Mapping[str, Any] | None = None
    regex: str | None = None

    def __post_init__(self) -> None:
        # As in llama.cpp, Ollama and vLLM
        if self.seed == -1:
            object.__setattr__(self, "seed", None)
        if self.top_k == -1:
            object.__setattr__(self, "top_k", 0)
        for wrong, message in (
            (not 0 <= self.temperature <= 100, f"temperature must be between 0 and 100, not {self.temperature:g}"),
            (self.top_k < 0, f"top-k must be 0 or -1 (all) or more, not {self.top_k}"),
            (not 0 <= self.top_p <= 1, f"top-p must be between 0 and 1, not {self.top_p:g}"),
            (self.seed is not None and self.seed < 0, f"seed must be 0 or more, or -1 (random), not {self.seed}"),
            (
                self.max_new_tokens < 1 and self.max_new_tokens != -1,
                f"max-new-tokens must be 1 or more, or -1 (no limit), not {self.max_new_tokens}",
            ),
            (not 0 <= self.min_p <= 1, f"min-p must be between 0 and 1, not {self.min_p:g}"),
            (
                not 0.01 <= self.repetition_penalty <= 100,
                f"repetition-penalty must be between 0.01 and 100 (1: none), not {self.repetition_penalty:g}",
            ),
            (
                not abs(self.presence_penalty) <= _LARGEST_PENALTY,
                f"presence-penalty must be between -2 and 2, not {self.presence_penalty:g}",
            ),
            (
                not abs(self.frequency_penalty) <= _LARGEST_PENALTY,
                f"frequency-penalty must be between -2 and 2, not {self.frequency_penalty:g}",
            ),
            (isinstance(self.stop, str) or not all(self.stop), "stop must be a list of non-empty texts"),
            (isinstance(self.choices, str) or not all(self.choices), "choices must be a list of non-empty texts"),
            (self.regex == "", "regex must not be empty"),
            (
                bool(self.choices) + (self.json_schema is not None) + (self.regex is not None) > 1,
                "choices, a JSON schema and a regex exclude each other: give one of them",
            ),
        ):
            if wrong:
                raise ConfigError(message)
        for id_, bias in self.logit_bias.items():
            if id_ < 0 or not abs(bias) <= _LARGEST_BIAS:
                raise ConfigError(f"logit-bias must be a token id and a value from -100 to 100, not {id_}={bias:g}")


class TokenSampler:
    """Choose tokens; samplers with equal seeds make equal choices.

    Args:
        options: how to choose.
        never: ids that are never chosen.
        spared: further ids that the repetition penalty does not apply to.
    """

    def __init__(self, options: SamplingOptions, never: Sequence[int], spared: Sequence[int] = ()) -> None:
        self._never = np.array(never, np.int64)
        self._spared = frozenset((*never, *spared))
        self._seed(options)
        self._apply(options)

    @classmethod
    def of(cls, tokenizer: Tokenizer, options: SamplingOptions) -> TokenSampler:
        """Create the sampler of a reply: it never chooses a control symbol but `<eos>`, which it never penalizes."""
        return cls(options, tokenizer.never_sampled, tokenizer.ends)

    @property
    def options(self) -> SamplingOptions:
        """How tokens are chosen. Setting it keeps the state of the random number generator unless the seed changes."""
        return self._options

    @options.setter
    def options(self, options: SamplingOptions) -> None:
        if options.seed != self._options.seed:
            self._seed(options)
        self._apply(options)

    def _seed(self, options: SamplingOptions) -> None:
        self._random = Random(options.seed)

    def _apply(self, options: SamplingOptions) -> None:
        self._options = options
        self._biased = np.array(list(options.logit_bias), np.int64)
        self._biases = np.array(list(options.logit_bias.values()), np.float32)

    def choose(self, logits: NDArray[np.float32], context: Sequence[int] = (), reply: Sequence[int] = ()) -> int:
        """Choose the next token.

        Args:
            logits: fp32 [vocab_size]; overwritten.
            context: ids of the tokens before it, for `repetition_penalty`.
            reply: ids of the reply so far, for the presence and frequency penalties.

        Returns:
            the token's id.

        Raises:
            ConfigError: `logit_bias` contains an id that is not in the vocabulary.
            TinyLMError: a logit is NaN.
        """
        options = self._options
        if options.repetition_penalty != 1:
            self._penalize(logits, context)
        if reply and (options.presence_penalty or options.frequency_penalty):
            ids, counts = np.unique(np.array(reply, np.int64), return_counts=True)
            logits[ids] -= (options.presence_penalty + options.frequency_penalty * counts).astype(np.float32)
        if len(self._biased):
            if int(self._biased.max()) >= len(logits):
                raise ConfigError(f"logit-bias: there is no token {self._biased.max()} in {len(logits):,}")
            logits[self._biased] += self._biases
        logits[self._never] = -np.inf
        if options.temperature == 0 or options.top_k == 1 or options.top_p == 0:
            best = int(logits.argmax())
            return best if math.isfinite(logits[best]) else int(self._finite(logits).argmax())
        maxima = _group_maxima(logits)
        if 0 < options.top_k <= _FEW < len(maxima) < len(logits):
            maxima.partition((len(maxima) - options.top_k, len(maxima) - 1))
            if math.isfinite(maxima[-1]):
                (ids,) = (logits >= maxima[-options.top_k]).nonzero()
                return int(ids[self._among_few(logits[ids].tolist())])
        return self._among_many(logits)

    def _among_few(self, logits: list[float]) -> int:
        """Sample from a few candidates, the `top_k` most likely among them; return an index into `logits`.

        In plain Python: after a forward pass NumPy's code is no longer in the CPU caches, and each call into it takes
        as long as sorting some dozens of numbers here.
        """
        options = self._options
        order = sorted(range(len(logits)), key=logits.__getitem__, reverse=True)[: options.top_k]
        highest = logits[order[0]]
        weights = [math.exp((logits[index] - highest) / options.temperature) for index in order]
        reached = list(accumulate(weights))
        kept = len(reached)
        if options.top_p < 1:
            kept = bisect_left(reached, options.top_p * reached[-1]) + 1
        if options.min_p > 0:
            kept = min(kept, sum(weight >= options.min_p for weight in weights))
        drawn = self._random.random() * reached[kept - 1]
        return order[min(bisect_right(reached, drawn, 0, kept), kept - 1)]

    def _among_many(self, logits: NDArray[np.float32]) -> int:
        """Sample from the whole vocabulary, for any options; return the token's id."""
        options = self._options
        highest = logits.max()
        if not math.isfinite(highest):
            logits = self._finite(logits)
            highest = logits.max()
        # Ids of the candidates, most likely first; None: all ids in their own order
        ids: NDArray[np.int64] | None = None
        total: float | None = None
        if 0 < options.top_k < len(logits):
            ids, logits = _likeliest(logits, _group_maxima(logits), options.top_k)
            weights = self._weights(logits, highest)
        else:
            weights = self._weights(logits, highest)
            if options.top_p < 1 or options.min_p > 0:
                total = float(weights.sum())
                ids, weights = self._head(weights, total)
        reached = weights.cumsum()
        kept = len(reached)
        if options.top_p < 1:
            kept = min(kept, int(reached.searchsorted(options.top_p * (total or reached[-1]))) + 1)
        if options.min_p > 0:
            kept = min(kept, int(np.count_nonzero(weights >= options.min_p)))
        drawn = self._random.random() * reached[kept - 1]
        index = min(int(reached.searchsorted(drawn, side="right")), kept - 1)
        return index if ids is None else int(ids[index])

    def _finite(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Replace infinite logits by the largest finite numbers.

        Raises:
            TinyLMError: a logit is NaN.
        """
        if np.isnan(logits).any():
            raise TinyLMError("the model's logits are not numbers (NaN): its weights are damaged; export it again")
        finite: NDArray[np.float32] = np.nan_to_num(logits)
        finite[self._never] = -np.inf
        return finite

    def _weights(self, logits: NDArray[np.float32], highest: np.float32) -> NDArray[np.float64]:
        """Unnormalized probabilities: 1 for the highest logit."""
        # fp64, so that the largest fp32 number divided by the lowest temperature is finite
        weights: NDArray[np.float64] = np.subtract(logits, highest, dtype=np.float64)
        weights /= max(self._options.temperature, 1e-30)
        return np.exp(weights, out=weights)

    def _head(self, weights: NDArray[np.float64], total: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The most likely ids in descending order, at least those that top-p and min-p keep, and their weights."""
        maxima = _group_maxima(weights)
        # Usually few tokens reach top-p: start with sorting only so many
        count = _FEW
        while True:
            ids, head = _likeliest(weights, maxima, min(count, len(weights)))
            if count >= len(weights) or head.sum() >= self._options.top_p * total or head[-1] < self._options.min_p:
                return ids, head
            count *= 8

    def _penalize(self, logits: NDArray[np.float32], context: Sequence[int]) -> None:
        ids = [id_ for id_ in {*context[-REPETITION_WINDOW:]} if id_ not in self._spared]
        values = logits[ids]
        penalty = np.float32(self._options.repetition_penalty)
        with np.errstate(over="ignore"):
            logits[ids] = np.where(values > 0, values / penalty, values * penalty)


def _group_maxima(values: NDArray[Number]) -> NDArray[Number]:
    """The maximum of each of `_GROUPS` groups of values [n]; the values themselves where there are few."""
    rows = len(values) // _GROUPS
    if rows < 2:
        return values
    maxima: NDArray[Number] = values[: rows * _GROUPS].reshape(rows, _GROUPS).max(axis=0)
    rest = values[rows * _GROUPS :]
    if len(rest):
        np.maximum(maxima[: len(rest)], rest, out=maxima[: len(rest)])
    return maxima


def _likeliest(
    values: NDArray[Number], maxima: NDArray[Number], count: int
) -> tuple[NDArray[np.int64], NDArray[Number]]:
    """The `count` highest values, in descending order, after their indices.

    `np.argpartition` of a whole vocabulary takes as long as a small model's layers. Maxima of groups are computed with
    vector instructions. At least `count` values, and hardly more, are as high as the lowest of the `count` highest
    maxima: only those are sorted.

    Args:
        values: [n], without NaN.
        maxima: `_group_maxima(values)`.
        count: from 1 to n.
    """
    if count > _FEW or len(maxima) == len(values):
        ids = np.argpartition(values, -count)[-count:]
    else:
        (ids,) = (values >= np.partition(maxima, -count)[-count]).nonzero()
    found = values[ids]
    order = found.argsort()[: -count - 1 : -1]
    return ids[order], found[order]
