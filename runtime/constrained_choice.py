"""Constrain a reply to one of given texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tinylm.tokenizer import Tokenizer


class Choices:
    """Allow at each token only what continues one of the choices; the model decides among those.

    Args:
        tokenizer: the model's tokenizer.
        choices: the texts; none is empty.
    """

    def __init__(self, tokenizer: Tokenizer, choices: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._left = {choice.encode("utf-8", "replace") for choice in choices}
        self._ids: dict[bytes, list[int]] = {}
        for id_, data in enumerate(tokenizer.token_bytes()):
            if data:
                self._ids.setdefault(data, []).append(id_)
        self._longest = max(map(len, self._ids))

    def restrict(self, logits: NDArray[np.float32]) -> None:
        """Set the logits of all tokens that are not allowed to minus infinity.

        Args:
            logits: fp32 [vocab_size]; overwritten.
        """
        allowed: set[int] = set()
        for rest in self._left:
            if not rest:
                allowed.update(self._tokenizer.ends)
            for size in range(1, min(len(rest), self._longest) + 1):
                allowed.update(self._ids.get(rest[:size], ()))
        ids = list(allowed)
        kept = logits[ids]
        logits.fill(-np.inf)
        logits[ids] = kept

    def feed(self, token: int) -> None:
        """Record the token that was chosen."""
        data = self._tokenizer.bytes_of(token)
        self._left = {rest[len(data) :] for rest in self._left if rest.startswith(data)}
