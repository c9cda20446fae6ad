"""TinyLM's graphs with random weights, as a bundle has them."""

from __future__ import annotations

from pathlib import Path

import torch

from tinylm.config import ModelConfig
from tinylm.export.decoders import write_decoders
from tinylm.export.graph import build_graph
from tinylm.export.weights import FloatWeights, Int8Weights
from tinylm.manifest import MODEL_FILE
from tinylm.training.model import LanguageModel


def random_model(config: ModelConfig) -> LanguageModel:
    """A model that was never trained, the same each time."""
    torch.manual_seed(0)
    return LanguageModel(config).eval()


def write_graphs(folder: Path, model: LanguageModel, precision: str) -> dict[str, str]:
    """Write the graphs of a model.

    Args:
        folder: to be made.
        model: its weights are read.
        precision: fp32 or int8.

    Returns:
        the graphs for single tokens, as a manifest lists them.
    """
    weights = Int8Weights() if precision == "int8" else FloatWeights()
    folder.mkdir()
    (folder / MODEL_FILE).write_bytes(build_graph(model, weights).SerializeToString())
    return write_decoders(folder, model, weights) if isinstance(weights, Int8Weights) else {}
