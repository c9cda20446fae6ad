"""A torch model with the interface of a runtime session, for the runtime's generation loop."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from tinylm.errors import ContextFullError
from tinylm.evaluation import IGNORED
from tinylm.training.kv_cache import KeyValueCache, LayerCache
from tinylm.training.model import LanguageModel


class TorchDecoder:
    """Decodes with a torch model, with a KV cache.

    Args:
        model: a model in evaluation mode.
    """

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self._ids: list[int] = []
        self._cache = KeyValueCache(LayerCache() for _ in model.blocks)
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
        self._cache = self._cache.first(length)

    def append(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Append tokens and compute the logits of the next token, fp32 [vocab_size].

        Raises:
            ContextFullError: the tokens do not fit into the context.
        """
        self._check_room(len(ids))
        with torch.inference_mode():
            hidden = self._model.hidden(self._tensor([ids]), cache=self._cache)[:, -1]
            logits: NDArray[np.float32] = self._model.output(hidden)[0].float().cpu().numpy()
        self._ids += ids
        return logits

    def continuation_losses(self, continuations: Sequence[Sequence[int]]) -> list[float]:
        """Summed negative log-likelihood, in nats, of each of several continuations of the sequence, in one batch.

        The sequence stays as it is. It must not be empty.

        Args:
            continuations: token ids of each, at least one.

        Raises:
            ContextFullError: the longest does not fit into the context.
        """
        longest = max(map(len, continuations))
        self._check_room(longest)
        last = self._ids[-1]
        inputs = [[last, *ids[:-1], *[0] * (longest - len(ids))] for ids in continuations]
        targets = [[*ids, *[IGNORED] * (longest - len(ids))] for ids in continuations]
        with torch.inference_mode():
            # The last token is computed again, as its logits are not kept
            cache = self._cache.first(self.length - 1, len(continuations))
            logits = self._model.output(self._model.hidden(self._tensor(inputs), cache=cache)).float()
            losses = F.cross_entropy(
                logits.flatten(0, 1), self._tensor(targets).flatten(), reduction="none", ignore_index=IGNORED
            )
        sums: list[float] = losses.view(len(continuations), longest).double().sum(dim=1).tolist()
        return sums

    def _check_room(self, count: int) -> None:
        if self.length + count > self.context_length:
            raise ContextFullError(
                f"{self.length + count:,} tokens do not fit into the context of {self.context_length:,}"
            )

    def _tensor(self, rows: Sequence[Sequence[int]]) -> Tensor:
        return torch.tensor(rows, device=self._model.embedding.weight.device)
