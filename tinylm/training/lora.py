"""Low-rank adapters (LoRA; Hu et al. 2022, arXiv:2106.09685) on the matrices of the blocks.

A matrix W [out, in] stays as it is; beside it two narrow ones are trained, so that the layer computes
W x + (ALPHA / rank) B A x. The gradient of W and its state in the optimizer are never computed, which saves a third of
the operations of a step and three quarters of the memory of weights. Queries, keys and values share one A, as they are
packed in one matrix; so do the two inputs of a gated feed-forward.

A checkpoint that training continues from has W, A and B apart, all others the sum, `merged`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from tinylm.errors import ConfigError
from tinylm.training.model import Block, LanguageModel

ALPHA = 32.0
"""The factor of an adapter's output is this over its rank, so that one learning rate suits all ranks."""
_DOWN, _UP = "adapter_down", "adapter_up"


class AdaptedLinear(nn.Linear):
    """A linear layer with frozen parameters and a low-rank adapter, which changes nothing before it is trained.

    Args:
        linear: its parameters are taken over and frozen.
        rank: of the adapter.
    """

    def __init__(self, linear: nn.Linear, rank: int) -> None:
        nn.Module.__init__(self)  # nn.Linear's would make new parameters
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        for parameter in linear.parameters():
            parameter.requires_grad_(False)
        device = linear.weight.device
        self.adapter_down = nn.Parameter(torch.empty(rank, self.in_features, device=device))
        self.adapter_up = nn.Parameter(torch.zeros(self.out_features, rank, device=device))
        nn.init.kaiming_uniform_(self.adapter_down, a=math.sqrt(5))

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - nn.Linear's name
        """Compute [..., out] of [..., in]."""
        narrow = F.linear(input, self.adapter_down) * _scale(self.adapter_down)
        return F.linear(input, self.weight, self.bias) + F.linear(narrow, self.adapter_up)


def add_adapters(model: LanguageModel, rank: int) -> None:
    """Freeze all parameters but the vocabulary's, and put an adapter beside each matrix of the blocks.

    Args:
        model: the model, which is changed in place; its output stays the same until it is trained.
        rank: of the adapters.

    Raises:
        ConfigError: a matrix of the blocks is narrower than the rank.
    """
    vocabulary = {id(model.embedding.weight), id(model.output.weight)}
    linears = [
        (module, name, getattr(module, name))
        for block in model.blocks
        if isinstance(block, Block)
        for module, name in (
            (block.attention, "qkv"),
            (block.attention, "output"),
            (block.feedforward, "up"),
            (block.feedforward, "down"),
        )
    ]
    narrowest = min(min(linear.weight.shape) for *_, linear in linears)
    if rank > narrowest:
        raise ConfigError(f"train.lora_rank: {rank} is more than the narrowest matrix of the blocks has ({narrowest})")
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in vocabulary)
    for module, name, linear in linears:
        setattr(module, name, AdaptedLinear(linear, rank))


def is_adapter(name: str) -> bool:
    """Whether a parameter's name is of an adapter."""
    return name.endswith((_DOWN, _UP))


def merged(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add adapters to their matrices.

    Args:
        tensors: a model's parameters by name, with adapters or without.

    Returns:
        the parameters of a plain model. What has no counterpart stays under its name.
    """
    plain = dict(tensors)
    for name, down in tensors.items():
        prefix = name.removesuffix(_DOWN)
        matrix, up = tensors.get(f"{prefix}weight"), tensors.get(prefix + _UP)
        if prefix == name or matrix is None or up is None or (*up.shape[:1], *down.shape[1:]) != matrix.shape:
            continue
        plain[f"{prefix}weight"] = torch.addmm(matrix, up, down, alpha=_scale(down))
        del plain[name], plain[prefix + _UP]
    return plain


def _scale(down: Tensor) -> float:
    return ALPHA / len(down)
