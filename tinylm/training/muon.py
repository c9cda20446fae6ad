"""Muon (Jordan et al. 2024) for many matrices at once.

`torch.optim.Muon` orthogonalizes one matrix at a time: many small products, between which a GPU idles and CPU cores
wait for each other. Here matrices of one shape are orthogonalized together. PyTorch's five steps of one polynomial
leave singular values between 0.68 and 1.2; four polynomials, each optimal for the output of the one before (Amsel et
al. 2025, arXiv:2505.16932), leave them between 0.75 and 1.25 with a fifth less work. The rest, and the state, is as in
`torch.optim.Muon`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from tinylm.training.distributed import Ranks, part_like, whole

# Coefficients of x, x^3 and x^5. The first polynomial is the nearest to 1 on [0.003, 1], each other one on the range of
# the one before. The ranges are 5 % wider, and inputs are divided by _MARGIN: singular values outside the range, as by
# rounding in bf16, would grow without bound
_POLYNOMIALS = (
    (8.3837, -24.7659, 18.3571),
    (3.8623, -2.6119, 0.4482),
    (3.3992, -2.3200, 0.4203),
    (2.4912, -1.7004, 0.3639),
)
_MARGIN = 1.1
_LEAST_NORM = 1e-7


class BatchedMuon(torch.optim.Muon):
    """`torch.optim.Muon` with Nesterov momentum and updates scaled to the size of AdamW's (`match_rms_adamw`).

    Args:
        matrices: parameters of two dimensions.
        weight_decay: decoupled weight decay, as in AdamW.
        ranks: the processes that train together; each orthogonalizes some of the matrices.
        dtype: precision of the orthogonalization. bf16 is enough, but many times slower than fp32 on processors without
            bf16 instructions.
    """

    def __init__(
        self, matrices: Iterable[Tensor], *, weight_decay: float, dtype: torch.dtype, ranks: Ranks | None = None
    ) -> None:
        super().__init__(matrices, lr=1.0, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
        self._dtype, self._ranks = dtype, ranks or Ranks()

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Apply the gradients; a closure is called first, and its value returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            matrices: list[Tensor] = group["params"]
            for parameter in matrices:
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
        directions = torch._foreach_lerp(gradients, momenta, group["momentum"])
        stacked = torch.stack([whole(direction) for direction in directions]).to(self._dtype)
        stacked = self._ranks.share(orthogonalize, stacked)
        updates = [part_like(*pair) for pair in zip(stacked.float().unbind(), parameters, strict=True)]
        scale = 0.2 * math.sqrt(max(parameters[0].shape))
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(parameters, updates, alpha=-group["lr"] * scale)


def orthogonalize(matrices: Tensor) -> Tensor:
    """Orthogonalize matrices approximately: all singular values become nearly 1.

    Args:
        matrices: [count, rows, columns].

    Returns:
        [count, rows, columns], of the same type.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.transpose(1, 2) if tall else matrices
    x = x / (_MARGIN * x.norm(dim=(1, 2), keepdim=True)).clamp(min=_LEAST_NORM)
    # In bf16 the squares of small singular values would be lost
    x = _iterate(x) if x.dtype == torch.bfloat16 else _iterate_on_gram(x)
    return x.transpose(1, 2) if tall else x


def _iterate(x: Tensor) -> Tensor:
    for a, b, c in _POLYNOMIALS:
        gram = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def _iterate_on_gram(x: Tensor) -> Tensor:
    """Compute the same with fewer operations on small square matrices: all factors are polynomials of X X^T."""
    gram = x @ x.transpose(1, 2)
    product = torch.eye(x.shape[1], dtype=x.dtype, device=x.device).expand_as(gram)
    for step, (a, b, c) in enumerate(_POLYNOMIALS, 1):
        rest = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)  # the step's factor is this and a times the identity
        product = torch.baddbmm(product, rest, product, beta=a)
        if step < len(_POLYNOMIALS):
            half = torch.baddbmm(gram, rest, gram, beta=a)
            gram = torch.baddbmm(half, half, rest, beta=a)
    return product @ x
