"""llama.cpp's own benchmark program, a process for each measurement."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from loops import Metric

from tinylm.config import ModelConfig
from tinylm.errors import TinyLMError


class LlamaBench:
    """llama-bench; it warms up by itself.

    Args:
        path: a GGUF file.
        config: not used: the file says it.
        threads: for decode and for prefill.
        program: where llama-bench is.
        flash_attention: on or off.
    """

    def __init__(
        self,
        path: Path,
        config: ModelConfig,  # noqa: ARG002 - every system is told it
        threads: int,
        program: Path,
        flash_attention: bool = True,
    ) -> None:
        options = {"-m": path, "-t": threads, "-fa": int(flash_attention), "-ngl": 0, "-r": 1, "-o": "json"}
        self._command = [str(program), *(str(part) for option in options.items() for part in option)]

    def seconds(self, metric: Metric) -> float:
        """Measure once."""
        prompt, generated = (metric.tokens, 0) if metric.at_once else (0, metric.tokens)
        sizes = ["-p", str(prompt), "-n", str(generated), "-d", str(metric.context)]
        finished = subprocess.run([*self._command, *sizes], capture_output=True, text=True, check=False)
        try:
            return float(json.loads(finished.stdout)[0]["avg_ns"]) / 1e9
        except (ValueError, LookupError):
            said = (finished.stderr.strip().splitlines() or ["nothing"])[-1]
            raise TinyLMError(f"{self._command[0]}: exit code {finished.returncode}, it said: {said}") from None
