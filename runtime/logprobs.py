"""Log-probabilities of tokens by the model alone, before temperature, biases, penalties and truncation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_ALTERNATIVES = 20
"""Maximum number of alternatives of a token, as in OpenAI's API."""


@dataclass(frozen=True)
class TokenLogprob:
    """A token and its log-probability.

    Attributes:
        id: the token.
        logprob: natural logarithm of its probability; None for the first token of a prompt.
        top: ids and log-probabilities of the most likely tokens at this position, in descending order.
    """

    id: int
    logprob: float | None
    top: Sequence[tuple[int, float]] = ()


class LogprobRecorder:
    """Collects the log-probabilities of a generation's tokens.

    Args:
        alternatives: most likely tokens to keep at each position, 0 to `MAX_ALTERNATIVES`.
        with_prompt: whether the prompt's tokens are scored too. They are then computed one by one.

    Attributes:
        prompt: the tokens of the prompt, where they are wanted.
        reply: the generated tokens, without `<eos>`.
        end: `<eos>`, where the model ended the reply.
    """

    def __init__(self, alternatives: int = 0, with_prompt: bool = False) -> None:
        if not 0 <= alternatives <= MAX_ALTERNATIVES:
            raise ValueError(f"alternatives must be between 0 and {MAX_ALTERNATIVES}, not {alternatives}")
        self._alternatives, self.with_prompt = alternatives, with_prompt
        self.prompt: list[TokenLogprob] = []
        self.reply: list[TokenLogprob] = []
        self.end: TokenLogprob | None = None

    def begin(self, token: int) -> None:
        """Record the first token of the prompt, which nothing predicts."""
        self.prompt.append(TokenLogprob(token, None))

    def add_prompt(self, token: int, logits: NDArray[np.float32]) -> None:
        """Record a further token of the prompt.

        Args:
            token: its id.
            logits: at its place, fp32 [vocab_size].
        """
        self.prompt.append(self._entry(token, log_softmax(logits)))

    def add(self, token: int, logprobs: NDArray[np.float64]) -> None:
        """Record a generated token.

        Args:
            token: its id.
            logprobs: of all tokens at its place, [vocab_size].
        """
        self.reply.append(self._entry(token, logprobs))

    def add_end(self, token: int, logprobs: NDArray[np.float64]) -> None:
        """Record that the model ended the reply; see `add`."""
        self.end = self._entry(token, logprobs)

    def _entry(self, token: int, logprobs: NDArray[np.float64]) -> TokenLogprob:
        top: list[tuple[int, float]] = []
        if self._alternatives:
            count = min(self._alternatives, len(logprobs))
            ids = np.argpartition(logprobs, -count)[-count:]
            # Equally likely tokens in the order of their ids
            order = np.lexsort((ids, -logprobs[ids]))
            top = [(int(id_), float(logprobs[id_])) for id_ in ids[order]]
        return TokenLogprob(token, float(logprobs[token]), top)


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log-probabilities of logits, in float64: [vocab_size]."""
    shifted = logits.astype(np.float64) - float(logits.max())
    normalized: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum())
    return normalized
