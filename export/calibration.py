"""Quantizing a model's matrices so that their errors cancel out on text like the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tinylm.evaluation import Window
from tinylm.export.builder import as_array
from tinylm.export.quantization import Int8Matrix, quantize_columns
from tinylm.model import LanguageModel

POSITIONS = 16_384
"""Positions of text that are looked at, at most."""


def quantize_model(model: LanguageModel, windows: Sequence[Window]) -> dict[str, Int8Matrix]:
    """Quantize every matrix of a model.

    Args:
        model: in evaluation mode, in fp32.
        windows: text that is typical of its use.

    Returns:
        the matrices by the name of their layer.
    """
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear)}
    grams = _grams(model, layers, windows)
    return {name: quantize_columns(as_array(layer.weight).T, grams[name]) for name, layer in layers.items()}


def _grams(
    model: LanguageModel, layers: dict[str, nn.Linear], windows: Sequence[Window]
) -> dict[str, NDArray[np.float64]]:
    """The inputs of each layer, multiplied with themselves: fp64 [inputs, inputs]."""
    grams = {name: torch.zeros(layer.in_features, layer.in_features) for name, layer in layers.items()}

    def watch(name: str) -> Any:
        def add(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            inputs = arguments[0].flatten(0, -2)
            grams[name] += inputs.T @ inputs

        return layers[name].register_forward_pre_hook(add)

    handles = [watch(name) for name in layers]
    try:
        positions = 0
        with torch.inference_mode():
            for window in windows:
                model(torch.from_numpy(window.inputs)[None])
                positions += len(window.inputs)
                if positions >= POSITIONS:
                    break
    finally:
        for handle in handles:
            handle.remove()
    return {name: gram.double().numpy() for name, gram in grams.items()}
