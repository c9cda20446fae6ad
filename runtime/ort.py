"""onnxruntime without telemetry; the other modules import it from here, which a rule of ruff checks.

onnxruntime reads `ORT_DISABLE_TELEMETRY` once, while it is imported. `tinylm/__init__.py` has set it by then, however
the imports of the module that needs onnxruntime are sorted.
"""

import onnxruntime

__all__ = ["onnxruntime"]
