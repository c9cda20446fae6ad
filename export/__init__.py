"""From a run to a bundle: ONNX graph, quantization, gate, manifest and model card."""

from tinylm.export.bundle import export_bundle
from tinylm.export.gate import GateLimits

__all__ = ["GateLimits", "export_bundle"]
