"""onnxruntime without its telemetry: every module of the project imports it from here, a rule of ruff's sees to it.

onnxruntime reads `ORT_DISABLE_TELEMETRY` once, while it is imported; `tinylm/__init__.py` has set it by then, whatever
the order of the imports in the module that needs onnxruntime.
"""

import onnxruntime

__all__ = ["onnxruntime"]
