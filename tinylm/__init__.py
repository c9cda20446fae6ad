"""TinyLM: your own text and chats in, a chat model on a Raspberry Pi out."""

import os
import sys
import warnings
from pathlib import Path

__version__ = "0.1.0"

_root = Path(__file__).parent.parent
if (_root / "pyproject.toml").is_file() and (_root / "cli" / "main.py").is_file():
    # In the source tree the folders beside this one are its subpackages, so that one version is imported, never two
    __path__.append(str(_root))

# onnxruntime reads this once, while it is imported; without it, it writes a device id below the user's cache folder and
# reports to its maker. Python runs this file before any module of TinyLM, so here it is early enough in every program
_NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"
if "onnxruntime" in sys.modules and os.environ.get(_NO_TELEMETRY, "").lower() not in {"1", "true", "yes", "on"}:
    warnings.warn(
        f"onnxruntime was imported before tinylm, and so its telemetry is on: import tinylm first, or set "
        f"{_NO_TELEMETRY}=1 before the program starts",
        RuntimeWarning,
        stacklevel=2,
    )
os.environ[_NO_TELEMETRY] = "1"
