"""A torch model with the interface of a runtime session, for the runtime's generation loop."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from tinylm.errors import ContextFullError
from tinylm.training.model import LanguageModel


class TorchDecoder:
    """Decodes with a torch model. Without a KV cache: each call computes the whole sequence again.

    Args:
        model: a model in evaluation mode.
    """

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self._ids: list[int] = []
        self.context_length = model.config.context_length
        self.vocab_size = model.config.vocab_size

    @property
    def length(self) -> int:
        """Number of tokens in the sequence."""
        return len(self._ids)

    @property
    def ids(self) -> Sequence[int]:
        """Token ids of the sequence."""
        return self._ids

    def truncate(self, length: int) -> None:
        """Keep only the first `length` tokens."""
        del self._ids[length:]

    def append(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Append tokens and compute the logits of the next token, fp32 [vocab_size].

        Raises:
            ContextFullError: the tokens do not fit into the context.
        """
        if len(self._ids) + len(ids) > self.context_length:
            raise ContextFullError(
                f"{len(self._ids) + len(ids):,} tokens do not fit into the context of {self.context_length:,}"
            )
        self._ids += ids
        device = self._model.embedding.weight.device
        with torch.inference_mode():
            hidden = self._model.hidden(torch.tensor([self._ids], device=device))[:, -1]
            logits: NDArray[np.float32] = self._model.output(hidden)[0].float().cpu().numpy()
        return logits
