"""Keys and values of the tokens before, for inference with torch."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


class LayerCache:
    """Keys and values of a layer, [batch, kv_heads, length, head_dim] each; None before the first token."""

    def __init__(self, key: Tensor | None = None, value: Tensor | None = None) -> None:
        self.key, self.value = key, value

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add those of further tokens, and return all."""
        if self.key is not None and self.value is not None:
            key, value = torch.cat((self.key, key), dim=2), torch.cat((self.value, value), dim=2)
        self.key, self.value = key, value
        return key, value


class KeyValueCache:
    """Keys and values of all layers, so that they are computed once a token. For inference.

    Args:
        layers: of the model, from first to last.
        ids: of the tokens, [batch, length].
    """

    def __init__(self, layers: Iterable[LayerCache], ids: Tensor | None = None) -> None:
        self.layers, self.ids = list(layers), ids

    @property
    def length(self) -> int:
        """Number of tokens."""
        return 0 if self.ids is None else self.ids.shape[1]

    def first(self, length: int, batch: int = 1) -> KeyValueCache:
        """A cache of the first tokens, repeated to a batch; the memory is shared until tokens are added."""
        parts = ((layer.key, layer.value) for layer in self.layers)
        layers = (
            LayerCache(*(part[:, :, :length].expand(batch, -1, -1, -1) if part is not None else None for part in pair))
            for pair in parts
        )
        return KeyValueCache(layers, None if self.ids is None else self.ids[:, :length].expand(batch, -1))

    def add_ids(self, ids: Tensor) -> None:
        """Add the ids of further tokens."""
        self.ids = ids if self.ids is None else torch.cat((self.ids, ids), dim=1)
