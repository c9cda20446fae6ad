"""TinyLM's graphs with random weights, as a bundle has them."""

from __future__ import annotations

from pathlib import Path

import torch

from tinylm.config import ModelConfig
from tinylm.export.decoders import write_decoders
from tinylm.export.graph import build_graph
from tinylm.export.weights import FloatWeights, Int8Weights
from tinylm.manifest import MODEL_FILE
from tinylm.model import LanguageModel


def write_graphs(folder: Path, config: ModelConfig, precision: str) -> None:
    """Write the graphs of a model that was never trained.

    Args:
        folder: to be made.
        config: the model's shape.
        precision: fp32 or int8.
    """
    torch.manual_seed(0)
    model = LanguageModel(config).eval()
    weights = Int8Weights() if precision == "int8" else FloatWeights()
    folder.mkdir()
    (folder / MODEL_FILE).write_bytes(build_graph(model, weights).SerializeToString())
    if isinstance(weights, Int8Weights):
        write_decoders(folder, model, weights)
