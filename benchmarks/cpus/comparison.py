"""TinyLM int8 beside llama.cpp Q8_0 on Arm cores: prefill and decode, one thread, in turns."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from types import TracebackType
from typing import Any

import msgspec

from benchmarks.cpus import own_loop
from benchmarks.cpus.emulation import Cpu, Emulation, is_noise
from benchmarks.cpus.own_loop import LoopJob, Round
from benchmarks.shapes import Shape
from tinylm.errors import TinyLMError

PROMPT, CONTEXT, TOKENS, ROUNDS = 64, 128, 12, 5
OURS, DEFAULT = "tinylm", ("llama_cpp", "llama_cpp_no_fa")
"""llama.cpp by its defaults, with and without flash attention: the faster one counts, as in benchmarks/decode.py."""

THEIRS = {DEFAULT[0]: ("1", "f16"), DEFAULT[1]: ("0", "f16"), "llama_cpp_f32": ("0", "f32")}
"""What llama.cpp's loop is told. A cache in f32 has ratios of its own, as qemu computes f16 in software."""

LEAST_PREFILL = 1.3
"""Speed over llama.cpp's that is asked for; that of decode is the CPU's `least_over_llama`."""


@dataclass(frozen=True)
class Pair:
    """Two models of one shape.

    Attributes:
        name: of the shape.
        shape: itself.
        folder: of TinyLM's graphs.
        gguf: llama.cpp's file.
    """

    name: str
    shape: Shape
    folder: Path
    gguf: Path


class LoopProcess:
    """A program that measures a round for each line that it reads.

    Args:
        name: what it is called in errors.
        command: the program.
        environment: its environment.
    """

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._name = name
        self._said = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, text=True
        )

    def __enter__(self) -> LoopProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._process, self._said:
            self._process.kill()

    def round(self) -> Round:
        """Measure once.

        Raises:
            TinyLMError: the program ended, or says something else.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = ""
        try:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
            return msgspec.json.decode(line, type=Round)
        except (BrokenPipeError, msgspec.DecodeError):
            self._said.seek(0)
            said = [text.strip() for text in self._said if text.strip() and not is_noise(text)]
            reason = said[-1] if said else line.strip() or "it said nothing"
            raise TinyLMError(f"{self._name} gives no times ({reason})") from None


def compare(emulation: Emulation, cpu: Cpu, pair: Pair, program: Path, work: Path) -> dict[str, float]:
    """Measure both on a CPU, in turns.

    Args:
        emulation: of the CPU.
        cpu: the CPU.
        pair: the models.
        program: llama.cpp's loop, for this CPU.
        work: a folder for what the loops are told.

    Returns:
        see `figures_of`.

    Raises:
        TinyLMError: one of them does not run.
    """
    job = LoopJob(folder=str(pair.folder), config=pair.shape.config, prompt=PROMPT, context=CONTEXT, tokens=TOKENS)
    path = work / f"loop-{pair.name}.json"
    path.write_bytes(msgspec.json.encode(job))
    numbers = [str(number) for number in (PROMPT, CONTEXT, TOKENS)]
    commands = {OURS: emulation.python(cpu, Path(own_loop.__file__), str(path))}
    for name, options in THEIRS.items():
        commands[name] = emulation.program(cpu, program, str(pair.gguf), *numbers, *options), dict(os.environ)
    with ExitStack() as stack:
        loops = {name: stack.enter_context(LoopProcess(name, *command)) for name, command in commands.items()}
        for loop in loops.values():
            loop.round()  # to warm up
        rounds: dict[str, list[Round]] = {name: [] for name in loops}
        for number in range(ROUNDS):
            # There and back, so that none profits from its place
            for name in loops if number % 2 else reversed(loops):
                rounds[name].append(loops[name].round())
    return figures_of(rounds)


def figures_of(rounds: Mapping[str, Sequence[Round]]) -> dict[str, float]:
    """What the best rounds took, and what that makes.

    Args:
        rounds: of TinyLM, and of llama.cpp by the names in `THEIRS`.

    Returns:
        milliseconds a token, by name and `_prefill_ms` or `_decode_ms`; of ours also with `_graph` before that, which
        is onnxruntime's part; speeds of ours over theirs: `prefill_over_llama_cpp`, `decode_over_llama_cpp`, and the
        same with `_f32` behind it for a cache in f32.
    """
    figures: dict[str, float] = {}
    for name, values in rounds.items():
        figures[f"{name}_prefill_ms"] = min(value.prefill_ms for value in values) / PROMPT
        figures[f"{name}_decode_ms"] = min(fmean(value.decode_ms) for value in values)
    ours = [(value.prefill_graph_ms, value.decode_graph_ms) for value in rounds[OURS]]
    figures[f"{OURS}_graph_prefill_ms"] = min(prefill for prefill, _ in ours if prefill is not None) / PROMPT
    figures[f"{OURS}_graph_decode_ms"] = min(fmean(decode) for _, decode in ours if decode is not None)
    for part in ("prefill", "decode"):
        own = figures[f"{OURS}_{part}_ms"]
        figures[f"{part}_over_llama_cpp"] = _default_ms(figures, part) / own
        figures[f"{part}_over_llama_cpp_f32"] = figures[f"llama_cpp_f32_{part}_ms"] / own
    return {name: float(f"{value:.4g}") for name, value in figures.items()}


def _default_ms(figures: Mapping[str, float], part: str) -> float:
    """What llama.cpp takes by default, with or without flash attention."""
    return min(figures[f"{name}_{part}_ms"] for name in DEFAULT)


Compared = Mapping[str, Mapping[str, Mapping[str, float] | str]]
"""By CPU and shape: figures, or why there are none."""


def add_comparison(verdict: dict[str, Any], cpus: Sequence[Cpu], compared: Compared) -> None:
    """Add what was compared to a verdict: `ratios` by CPU and shape, `llama_cpp` to the CPU's figures, and problems."""
    verdict["ratios"] = {}
    for cpu in cpus:
        if cpu.name not in compared:
            continue
        figures: dict[str, Any] = {}
        ratios: dict[str, Any] = {}
        problems: list[str] = []
        for shape, found in compared[cpu.name].items():
            if isinstance(found, str):
                problems.append(f"beside llama.cpp, {shape}: {found}")
                continue
            figures[shape] = {name: value for name, value in found.items() if "_over_" not in name}
            ratios[shape] = {name: value for name, value in found.items() if "_over_" in name}
            for part, asked in (("prefill", LEAST_PREFILL), ("decode", cpu.least_over_llama)):
                ratio = found[f"{part}_over_llama_cpp"]
                if ratio < asked:
                    problems.append(f"{shape}: {part} is {ratio:.2f} x as fast as llama.cpp's (asked: {asked} x)")
        verdict["ratios"][cpu.name] = ratios
        own = verdict["figures"][cpu.name]
        own["llama_cpp"] = figures
        own["problems"] += problems
        own["passed"] = not own["problems"]
        verdict["problems"] += [f"{cpu.name}: {problem}" for problem in problems]
    verdict["passed"] = not verdict["problems"]


def comparison_table(verdict: Mapping[str, Any], cpus: Sequence[Cpu]) -> str:
    """What was compared, for people."""
    heading = f"{'TinyLM ms':>10}{'llama ms':>10}{'ratio':>7}{'f32':>7}{'asked':>7}"
    lines = [f"{'':20}{'prefill of ' + str(PROMPT):>41}{'decode at ' + str(CONTEXT):>41}"]
    lines.append(f"{'CPU':<12}{'shape':<8}{heading * 2}")
    for cpu in cpus:
        for shape, ratios in verdict["ratios"].get(cpu.name, {}).items():
            figures = verdict["figures"][cpu.name]["llama_cpp"][shape]
            row = f"{cpu.name:<12}{shape:<8}"
            for part, asked in (("prefill", LEAST_PREFILL), ("decode", cpu.least_over_llama)):
                row += f"{figures[f'{OURS}_{part}_ms']:>10.2f}{_default_ms(figures, part):>10.2f}"
                row += (
                    f"{ratios[f'{part}_over_llama_cpp']:>7.2f}{ratios[f'{part}_over_llama_cpp_f32']:>7.2f}{asked:>7.1f}"
                )
            lines.append(row)
    return "\n".join(lines)
