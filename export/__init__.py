"""From a run to a bundle: ONNX graph, quantization, gate, manifest and model card.

bundle.py        from a run to a bundle
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

from tinylm.export.bundle import export_bundle
from tinylm.export.gate import GateLimits

__all__ = ["GateLimits", "export_bundle"]
