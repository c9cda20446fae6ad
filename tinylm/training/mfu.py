"""Model FLOPs utilization (MFU): the model's floating-point operations over the device's peak in that time.

Counted as in PaLM (Chowdhery et al. 2022, arXiv:2204.02311, appendix B): the operations of the model's forward and
backward pass, whether the implementation recomputes or skips some of them or not.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor

from tinylm.config import ModelConfig
from tinylm.training.model import LanguageModel

# Dense bf16 TFLOP/s by the vendors' datasheets; the first entry whose name is part of the device's name is used
_PEAK_TFLOPS = (
    ("H100 PCIe", 756.0),
    ("H100 NVL", 835.0),
    ("H200 NVL", 835.0),
    ("H100", 989.4),
    ("H200", 989.4),
    ("GH200", 989.4),
    ("B200", 2250.0),
    ("A100", 312.0),
    ("A800", 312.0),
    ("A30", 165.0),
    ("A40", 149.7),
    ("RTX A6000", 154.8),
    ("L40S", 362.0),
    ("L40", 181.0),
    ("L4", 121.0),
    ("RTX 5090", 209.5),
    ("RTX 4090", 165.2),
    ("RTX 3090", 71.0),
    ("MI300X", 1307.4),
)


def training_flops(model: LanguageModel, positions: int, counted: int) -> float:
    """Count the floating-point operations of a training step, forward and backward.

    For each position, 6 for each parameter that it is multiplied with (4 for a frozen one), and 12 x layers x width x
    context for attention, of which the masked half counts too (PaLM, appendix B). An untied embedding is not
    multiplied, and logits are computed for counted targets only.

    Args:
        model: the model.
        positions: tokens that go through the blocks, in rows of the full context.
        counted: positions that have a target.
    """
    config = model.config
    vocabulary = {id(model.embedding.weight), id(model.output.weight)}
    blocks = sum(_parameter_flops(parameter) for parameter in model.parameters() if id(parameter) not in vocabulary)
    return (blocks + attention_flops(config)) * positions + _parameter_flops(model.output.weight) * counted


def _parameter_flops(parameter: Tensor) -> float:
    """Operations of a parameter for each position; of a frozen one, no gradient is computed."""
    return (6.0 if parameter.requires_grad else 4.0) * parameter.numel()


def attention_flops(config: ModelConfig) -> float:
    """Count the operations of attention's two matrix products for a position, forward and backward, at full context."""
    return 12.0 * config.num_layers * config.nhead * config.head_dim * config.context_length


def peak_flops(device: torch.device) -> float | None:
    """Return a GPU's dense bf16 operations a second: by the datasheet, or measured if its name is unknown.

    None on a CPU, whose rate depends too much on other load.
    """
    if device.type == "cpu":
        return None
    if device.type == "cuda":
        known = datasheet_flops(torch.cuda.get_device_name(device))
        if known is not None:
            return known
    return measured_flops(device)


def datasheet_flops(name: str) -> float | None:
    """Look up the dense bf16 operations a second of a device by its name; None if the name is unknown."""
    words = f" {name} ".replace("-", " ").lower()
    if " laptop " in words:
        return None  # named like the desktop card, but slower
    return next((rate * 1e12 for part, rate in _PEAK_TFLOPS if f" {part.lower()} " in words), None)


def measured_flops(device: torch.device, size: int = 4096, seconds: float = 0.3) -> float:
    """Measure the operations a second of a product of two random square bf16 matrices, the best of several."""
    first, second = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    best, begun = float("inf"), time.perf_counter()
    while best == float("inf") or time.perf_counter() - begun < seconds:
        started = time.perf_counter()
        for _ in range(4):
            product = first @ second
        product[0, 0].item()  # waits for the device
        best = min(best, (time.perf_counter() - started) / 4)
    return 2.0 * size**3 / best
