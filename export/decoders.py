"""Write the decoding graphs, which process one token a call and share the weights of `model.onnx`.

`model.onnx` is complete and takes any number of tokens. The decoding graphs are faster for a single token. They hold no
weights: their constants refer to data in `model.onnx`.
"""

from __future__ import annotations

from pathlib import Path

import onnx

from tinylm.export.graph import Form, build_graph
from tinylm.export.weights import BlockWeights, Int8Weights, OneRowWeights
from tinylm.manifest import ANY_CPU, DECODE_FILES, MODEL_FILE, X86
from tinylm.training.model import LanguageModel

_SMALLEST_SHARED = 256
_BEYOND_CACHES = 16_000_000


def write_decoders(folder: Path, model: LanguageModel, weights: Int8Weights) -> dict[str, str]:
    """Write the decoding graphs of a model.

    Args:
        folder: holds `model.onnx`, built with `weights`.
        model: the model.
        weights: the quantized matrices.

    Returns:
        names of the files by class of CPU.
    """
    forms: dict[str, Int8Weights] = {ANY_CPU: OneRowWeights(matrices=weights.matrices)}
    if (folder / MODEL_FILE).stat().st_size > _BEYOND_CACHES:
        forms[X86] = BlockWeights(matrices=weights.matrices)
    for cpu, form in forms.items():
        graph = build_graph(model, form, Form.ONE_TOKEN)
        share_constants(graph, folder / MODEL_FILE)
        (folder / DECODE_FILES[cpu]).write_bytes(graph.SerializeToString())
    return {cpu: DECODE_FILES[cpu] for cpu in forms}


def share_constants(graph: onnx.ModelProto, model: Path) -> None:
    """Replace the larger constants of a graph by references to the same bytes in another file, if it has them.

    Args:
        graph: is changed.
        model: an ONNX file in the folder for which the graph is meant.
    """
    data = model.read_bytes()
    for tensor in graph.graph.initializer:
        offset = data.find(tensor.raw_data) if len(tensor.raw_data) >= _SMALLEST_SHARED else -1
        if offset < 0:
            continue
        size = len(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", model.name), ("offset", offset), ("length", size)):
            tensor.external_data.add(key=key, value=str(value))
