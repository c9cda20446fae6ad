"""From a run to a bundle: ONNX graph, quantization, gate, manifest and model card.

Public names: `export_bundle`, `Bundle`, `GateLimits`.

Files:
    bundle.py        from a run to a bundle
    options.py       the arguments of `export_bundle`
    graph.py         the ONNX graph
    operators.py     its operations, in onnxruntime's fused operators or in standard ones
    weights.py       its matrices in fp32, int8 and 4 bits
    quantization.py  from a matrix to its levels and scales
    builder.py       a graph under construction
    decoders.py      graphs for one token a call, with the weights of model.onnx
    gate.py          comparison of torch, fp32 and int8 on the same text
    genai.py         the files that onnxruntime-genai needs
    card.py          the model card
    kernel_probes.py the ONNX files with which `tinylm doctor` measures int8 kernels
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinylm.export.bundle import Bundle, export_bundle
    from tinylm.export.gate import GateLimits

__all__ = ["Bundle", "GateLimits", "export_bundle"]

_MODULES = {"Bundle": "bundle", "GateLimits": "gate", "export_bundle": "bundle"}


def __getattr__(name: str) -> Any:
    # Imported on first use: torch takes seconds, and the command line needs the options without it
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
