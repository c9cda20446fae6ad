"""What `auto` stands for on this machine: the device to train on and the precision to compute in."""

from __future__ import annotations

import time

import torch

from tinylm.config import TrainConfig
from tinylm.errors import ConfigError


def resolve_hardware(settings: TrainConfig) -> tuple[str, str]:
    """The device and the precision that `auto` stands for on this machine.

    Raises:
        ConfigError: the wanted device is not there.
    """
    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind = device.partition(":")[0]
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(kind, False):
        raise ConfigError(f"train.device: no {device} here; there is {', '.join(d for d in there if there[d])}")
    precision = settings.precision
    if precision == "auto":
        fast = torch.cuda.is_bf16_supported() if kind == "cuda" else kind == "cpu" and _bf16_is_faster_on_cpu()
        precision = "bf16" if fast else "fp32"
    return device, precision


def _bf16_is_faster_on_cpu() -> bool:
    """Whether this processor computes in bf16, which shows in the time of a matrix product."""
    matrices = {dtype: torch.ones(512, 512, dtype=dtype) for dtype in (torch.bfloat16, torch.float32)}
    least = dict.fromkeys(matrices, float("inf"))
    # In turns and often, so that a moment in which the machine is busy does not decide
    for _ in range(20):
        for dtype, matrix in matrices.items():
            started = time.perf_counter()
            torch.mm(matrix, matrix)
            least[dtype] = min(least[dtype], time.perf_counter() - started)
    return least[torch.bfloat16] * 1.25 < least[torch.float32]
