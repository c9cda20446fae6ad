"""Model FLOPs utilization: the arithmetic that training needs, over what the device could do in that time.

Counted as in PaLM (Chowdhery et al. 2022, arXiv:2204.02311, appendix B): what the model asks for, forward and backward,
whatever is recomputed or skipped on the way.
"""

from __future__ import annotations

import time

import torch

from tinylm.config import ModelConfig
from tinylm.training.model import LanguageModel

# Dense bf16 matrix rate in TFLOP/s, from the makers' datasheets; the first name that is part of the device's decides
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
    """Floating-point operations of a training step, forward and backward.

    6 a position for each parameter that it is multiplied with, and 12 x layers x width x context for attention, which
    is counted whole although half of it is masked (PaLM, appendix B). An untied embedding is looked up, not
    multiplied, and logits are made for counted targets alone.

    Args:
        model: its parameters and shape.
        positions: tokens that go through the blocks, in rows of the full context.
        counted: those of them that have a target.
    """
    config = model.config
    output = model.output.weight.numel()
    blocks = sum(parameter.numel() for parameter in model.parameters()) - output
    if not config.tie_embeddings:
        blocks -= model.embedding.weight.numel()
    return (6.0 * blocks + attention_flops(config)) * positions + 6.0 * output * counted


def attention_flops(config: ModelConfig) -> float:
    """Operations a position of the two products of attention, forward and backward, over the full context."""
    return 12.0 * config.num_layers * config.d_model * config.context_length


def peak_flops(device: torch.device) -> float | None:
    """Dense bf16 operations a second of a GPU: the datasheet's, or measured where the name is not known.

    None on a CPU, whose rate depends too much on what else it does.
    """
    if device.type == "cpu":
        return None
    if device.type == "cuda":
        known = datasheet_flops(torch.cuda.get_device_name(device))
        if known is not None:
            return known
    return measured_flops(device)


def datasheet_flops(name: str) -> float | None:
    """The datasheet's dense bf16 operations a second of a device of this name; None where it is not known."""
    words = f" {name} ".replace("-", " ").lower()
    if " laptop " in words:
        return None  # named like the card for desktops, and slower
    return next((rate * 1e12 for part, rate in _PEAK_TFLOPS if f" {part.lower()} " in words), None)


def measured_flops(device: torch.device, size: int = 4096, seconds: float = 0.3) -> float:
    """Operations a second of a product of two random square bf16 matrices, the best of several."""
    first, second = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    best, begun = float("inf"), time.perf_counter()
    while best == float("inf") or time.perf_counter() - begun < seconds:
        started = time.perf_counter()
        for _ in range(4):
            product = first @ second
        product[0, 0].item()  # waits for the device
        best = min(best, (time.perf_counter() - started) / 4)
    return 2.0 * size**3 / best
