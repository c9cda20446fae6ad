"""Write graphs that share the weights of `model.onnx`.

`model.onnx` is complete and takes any number of tokens. The decoding graphs are faster for a single token. They hold no
weights: their constants refer to data in `model.onnx`. `mapped.onnx` is the graph of `model.onnx` in that form:
onnxruntime maps the weights of such a graph from the file, instead of keeping a copy of it.
"""

from __future__ import annotations

from pathlib import Path

import onnx

from tinylm.export.builder import refer
from tinylm.export.graph import Form, build_graph
from tinylm.export.weights import BlockWeights, Int8Weights, OneRowWeights
from tinylm.manifest import ANY_CPU, DECODE_FILES, MAPPED_FILE, MODEL_FILE, X86
from tinylm.training.model import LanguageModel

_SMALLEST_SHARED = 256
_BEYOND_CACHES = 16_000_000
_BETWEEN = 1 << 16  # bytes


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


def write_mapped(folder: Path) -> str:
    """Write `mapped.onnx` beside a `model.onnx` that is so large that a copy of its weights counts.

    Returns:
        the name of the file; empty where there is none.
    """
    if (folder / MODEL_FILE).stat().st_size <= _BEYOND_CACHES:
        return ""
    graph = onnx.load(folder / MODEL_FILE, load_external_data=False)
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in graph.graph.initializer):
        return ""
    share_constants(graph, folder / MODEL_FILE)
    (folder / MAPPED_FILE).write_bytes(graph.SerializeToString())
    return MAPPED_FILE


def share_constants(graph: onnx.ModelProto, model: Path) -> None:
    """Replace the larger constants of a graph by references to the same bytes in another file, if it has them.

    Args:
        graph: is changed.
        model: an ONNX file in the folder for which the graph is meant.
    """
    data = model.read_bytes()
    end = 0
    for tensor in graph.graph.initializer:
        size = len(tensor.raw_data)
        if size < _SMALLEST_SHARED:
            continue
        # Constants are mostly in the same order: what follows the one before is looked at first
        offset = data.find(tensor.raw_data, end, end + size + _BETWEEN)
        if offset < 0:
            offset = data.find(tensor.raw_data)
        if offset >= 0:
            end = offset + size
            tensor.ClearField("raw_data")
            refer(tensor, model.name, offset, size)
