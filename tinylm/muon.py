"""Muon (Jordan et al. 2024): matrices of one shape are orthogonalized together.

One by one, as PyTorch's own does it, the many small products leave a GPU idle between them, and CPU cores wait for each
other in every one. The arithmetic is PyTorch's (`torch.optim.Muon`), and so is the state.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class BatchedMuon(torch.optim.Muon):
    """`torch.optim.Muon` with Nesterov momentum and updates scaled to the size of AdamW's (`match_rms_adamw`)."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Apply the gradients; with a closure, first call it and give what it returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for parameter in _tensors(group["params"]):
                if parameter.grad is not None:
                    by_shape.setdefault(parameter.shape, []).append(parameter)
            for parameters in by_shape.values():
                self._update(parameters, group)
        return loss

    def _update(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        for parameter in parameters:
            if "momentum_buffer" not in self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        momenta = [self.state[parameter]["momentum_buffer"] for parameter in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        updates = torch.stack(torch._foreach_lerp(gradients, momenta, group["momentum"]))
        updates = orthogonalize(updates, group["ns_coefficients"], group["ns_steps"], group["eps"])
        scale = 0.2 * math.sqrt(max(parameters[0].shape))
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(parameters, list(updates.float().unbind()), alpha=-group["lr"] * scale)


def orthogonalize(matrices: Tensor, coefficients: tuple[float, float, float], steps: int, epsilon: float) -> Tensor:
    """Nearly the nearest orthogonal matrices, by the quintic Newton-Schulz iteration.

    Args:
        matrices: [count, rows, columns].
        coefficients: of the iteration.
        steps: how often it is repeated.
        epsilon: the least norm that a matrix is divided by.

    Returns:
        bf16 [count, rows, columns].
    """
    a, b, c = coefficients
    x = matrices.bfloat16()
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.transpose(1, 2)
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=epsilon)
    for _ in range(steps):
        gram = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.transpose(1, 2) if tall else x


def _tensors(values: Iterable[Tensor]) -> list[Tensor]:
    return list(values)
