"""Output layer and cross-entropy in one, some rows at a time, so that all logits never exist at once.

Logits are by far the largest tensor of a small model. The gradient is made where the loss is, while the logits of some
rows are in the cache, as Hsu et al. 2024 (arXiv:2410.10989) do it on GPUs.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

_LOGITS = 1 << 20  # at once
_LEAST = 1e-30  # of what a logarithm is taken from


def linear_cross_entropy(states: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Summed negative log-likelihood, in nats, of targets by the logits `states @ weight.T`; an fp32 scalar.

    Under autocast the products are in its precision; the softmax is in fp32.

    Args:
        states: [count, d_model].
        weight: [vocab_size, d_model].
        targets: ids, [count].
    """
    device = states.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else states.dtype
    with torch.autocast(device, enabled=False):
        if torch.is_grad_enabled():
            loss: Tensor = _LinearCrossEntropy.apply(states, weight, targets, dtype)  # type: ignore[no-untyped-call]
            return loss
        loss = torch.zeros((), device=states.device)
        weight = weight.to(dtype)
        for start in range(0, len(states), _rows(weight)):
            some = slice(start, start + _rows(weight))
            loss += F.cross_entropy((states[some].to(dtype) @ weight.T).float(), targets[some], reduction="sum")
        return loss


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, targets: Tensor, dtype: torch.dtype) -> Tensor:
        narrow, factors = states.to(dtype), weight.to(dtype)
        loss = torch.zeros((), device=states.device)
        states_gradient = torch.empty_like(narrow)
        weight_gradient = torch.zeros_like(weight, dtype=torch.float32)
        rows = _rows(weight)
        for start in range(0, len(narrow), rows):
            x, y = narrow[start : start + rows], targets[start : start + rows, None]
            logits = x @ factors.T
            probabilities = torch.softmax(logits, dim=-1, dtype=torch.float32)
            likelihoods = probabilities.gather(1, y)
            if likelihoods.min() > _LEAST:
                loss -= likelihoods.log().sum()
            else:
                loss += F.cross_entropy(logits.float(), y[:, 0], reduction="sum")
            gradient = probabilities.scatter_(1, y, likelihoods - 1).to(dtype)
            torch.mm(gradient, factors, out=states_gradient[start : start + rows])
            weight_gradient += gradient.T @ x
        ctx.save_for_backward(states_gradient, weight_gradient)
        ctx.dtypes = states.dtype, weight.dtype
        return loss

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (scale,) = gradients
        of_states, of_weight = (
            (saved * scale).to(dtype) for saved, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        )
        return of_states, of_weight, None, None


def _rows(weight: Tensor) -> int:
    return max(1, _LOGITS // len(weight))
