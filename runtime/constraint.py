"""What a reply is constrained to: one of given texts, a JSON schema or a regular expression."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tinylm.runtime.constrained_choice import Choices
from tinylm.runtime.sampling import SamplingOptions
from tinylm.tokenizer import Tokenizer


class Constraint(Protocol):
    """What may come next in a reply, token by token."""

    def restrict(self, logits: NDArray[np.float32]) -> None:
        """Set the logits [vocab_size] of all tokens that are not allowed to minus infinity."""
        ...

    def feed(self, token: int) -> None:
        """Record the token that was chosen."""
        ...


def constraint_of(tokenizer: Tokenizer, options: SamplingOptions) -> Constraint | None:
    """The constraint of a reply; None where there is none.

    Args:
        tokenizer: the model's tokenizer.
        options: see `SamplingOptions`.

    Raises:
        ConfigError: the schema or regular expression cannot be enforced, or llguidance is not installed.
    """
    if options.choices:
        return Choices(tokenizer, options.choices)
    if options.json_schema is None and options.regex is None:
        return None
    from tinylm.runtime.grammar import Grammar

    return Grammar(tokenizer, options.json_schema, options.regex)
