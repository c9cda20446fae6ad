"""The runtimes that are measured, and the models that they run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from commands import TINYLM, run_command
from loops import METRICS
from shapes import Shape
from workers import Worker

from tinylm.config import load_config
from tinylm.errors import TinyLMError

OURS = "tinylm_int8"
PEER = ("llama_q8_0", "llama_q8_0_no_fa")
"""llama.cpp with and without flash attention: which is faster depends on shape and context; the faster one counts."""

PACKAGES = {"llama_cpp": "llama-cpp-python", "gguf": "gguf", "onnxruntime_genai": "onnxruntime-genai"}


@dataclass(frozen=True)
class System:
    """A runtime with a model.

    Attributes:
        key: its name in the results.
        title: its name in the table.
        kind: the class that runs it, as module:name.
        model: the precision of its model, and the name of its file or folder.
        weight_bytes: a matrix element's bytes.
        needs: modules of peers.
        options: for its class.
    """

    key: str
    title: str
    kind: str
    model: str
    weight_bytes: float
    needs: Sequence[str] = ()
    options: dict[str, Any] = field(default_factory=dict)


_BARE, _LLAMA, _GENAI = "bare:BareLoop", "peers.llama:LlamaLoop", "peers.genai:GenaiLoop"
_LLAMA_NEEDS = ("llama_cpp", "gguf")
_OF_A_RUN = ("int8", "Q8_0")
# Those that are compared stand, and so are measured, side by side
SYSTEMS = (
    System("tinylm_fp32", "TinyLM fp32", _BARE, "fp32", 4),
    System("tinylm_int8_runtime", "TinyLM int8, runtime", "bare:RuntimeLoop", "int8", 1),
    System(OURS, "TinyLM int8", _BARE, "int8", 1),
    System(PEER[0], "llama.cpp Q8_0", _LLAMA, "Q8_0", 34 / 32, _LLAMA_NEEDS),
    System(
        PEER[1],
        "llama.cpp Q8_0, no FA",
        _LLAMA,
        "Q8_0",
        34 / 32,
        _LLAMA_NEEDS,
        {"flash_attention": False},
    ),
    System("llama_f32", "llama.cpp F32", _LLAMA, "F32", 4, _LLAMA_NEEDS),
    System("genai_int8", "genai int8", _GENAI, "int8", 1, ("onnxruntime_genai",)),
    System("genai_fp32", "genai fp32", _GENAI, "fp32", 4, ("onnxruntime_genai",)),
)


def choose_systems(
    llama_bench: Path | None, without_peers: bool, of_a_run: bool = False
) -> tuple[list[System], list[str]]:
    """What can be measured here.

    Args:
        llama_bench: llama.cpp's own program, to run instead of its library.
        without_peers: only TinyLM.
        of_a_run: only those for which `export_run` writes the model.

    Returns:
        the systems, and the packages that are missing for the others.
    """
    systems = [system for system in SYSTEMS if not (without_peers and system.needs)]
    if of_a_run:
        systems = [system for system in systems if system.model in _OF_A_RUN and system.kind != _GENAI]
    if llama_bench is not None:
        program = {"program": llama_bench}
        systems = [
            replace(system, kind="peers.llama_bench:LlamaBench", needs=("gguf",), options=system.options | program)
            if system.kind == _LLAMA
            else system
            for system in systems
        ]
    missing = {name for system in systems for name in system.needs if find_spec(name) is None}
    present = [system for system in systems if not missing & set(system.needs)]
    return present, [package for name, package in PACKAGES.items() if name in missing]


def export_run(run: Path, folder: Path) -> Shape:
    """Export a run in int8, once for TinyLM and once for llama.cpp.

    Args:
        run: of `arch = "llama"`, trained or imported.
        folder: receives the models.

    Returns:
        its shape.

    Raises:
        TinyLMError: it cannot be exported, or its context is too short for the measurements.
    """
    config = load_config(run / "config.toml").model
    longest = max(metric.context + metric.tokens for metric in METRICS)
    if config.context_length < longest:
        raise TinyLMError(f"{run}: a context of {config.context_length} tokens; {longest} are measured")
    bundle, gguf = (str(folder / name) for name in _OF_A_RUN)
    run_command([TINYLM, "export", str(run), "--quantize", "--out", bundle, "--gguf", gguf])
    return Shape(config, config.dim_feedforward)


def write_models(shape: Shape, systems: Sequence[System], folder: Path) -> None:
    """Write the model of each system, with random weights."""
    models = sorted({system.model for system in systems})
    # In a process of its own, which leaves neither torch nor its memory behind
    with Worker() as worker:
        for model in models:
            worker.call(write_model, shape, folder / model)


def write_model(shape: Shape, path: Path) -> None:
    """Write one model; its name is its precision."""
    if path.name in ("int8", "fp32"):
        from graphs import random_model, write_graphs

        write_graphs(path, random_model(shape.config), path.name)
    else:
        from peers.gguf_file import write_gguf

        write_gguf(path, shape, path.name)
