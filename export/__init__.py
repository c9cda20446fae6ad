"""From a run to a bundle: ONNX graph, quantization, gate, manifest and model card; or to files of other programs.

Public names: `export_bundle`, `Bundle`, `GateLimits`, `export_gguf`, `export_huggingface`.

Files:
    bundle.py        from a run to a bundle
    options.py       the arguments of `export_bundle`
    graph.py         the ONNX graph of the model
    operators.py     operations, with onnxruntime's fused operators or standard ones
    weights.py       storage and multiplication of matrices: fp32, int8, 4 bits
    quantization.py  quantization of a matrix
    builder.py       build a graph node by node
    decoders.py      decoding graphs for one token a call, with the weights of model.onnx
    gate.py          comparison of torch, fp32 and int8 on the same text
    genai.py         files for onnxruntime-genai
    source.py        a run as it is exported
    huggingface.py   a folder for Hugging Face's transformers
    gguf_file.py     a GGUF file for llama.cpp and Ollama
    chat_template.py the chat format as a Jinja template
    card.py          the model card
    kernel_probes.py the ONNX files with which `tinylm doctor` measures int8 kernels
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinylm.export.bundle import Bundle, export_bundle
    from tinylm.export.gate import GateLimits
    from tinylm.export.gguf_file import export_gguf
    from tinylm.export.huggingface import export_huggingface

__all__ = ["Bundle", "GateLimits", "export_bundle", "export_gguf", "export_huggingface"]

_MODULES = {
    "Bundle": "bundle",
    "GateLimits": "gate",
    "export_bundle": "bundle",
    "export_gguf": "gguf_file",
    "export_huggingface": "huggingface",
}


def __getattr__(name: str) -> Any:
    # Imported on first use: torch takes seconds, and the command line needs the options without it
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
