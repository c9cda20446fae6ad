"""Memory of a session with a model of SmolLM2's size, random weights in int8: `python benchmarks/memory.py`.

Each session is a process of its own that reads a prompt of 128 tokens and decodes 128. Prints a table, and one JSON
object as the last line.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from workers import Worker

from tinylm.config import ModelConfig
from tinylm.manifest import ANY_CPU, DECODE_FILES, MAPPED_FILE, MODEL_FILE, X86

SHAPE = ModelConfig(
    arch="llama",
    vocab_size=49_152,
    d_model=576,
    nhead=9,
    num_kv_heads=3,
    num_layers=30,
    dim_feedforward=1536,
    context_length=2048,
)
_TOKENS = 128
_MIB = 1 << 20


def make(folder: Path) -> None:
    """Write the graphs of a random model."""
    import torch

    from tinylm.export.decoders import write_decoders, write_mapped
    from tinylm.export.graph import write_graph
    from tinylm.export.weights import Int8Weights
    from tinylm.training.model import LanguageModel

    torch.manual_seed(0)
    model, weights = LanguageModel(SHAPE).eval(), Int8Weights()
    write_graph(folder / MODEL_FILE, model, weights)
    write_decoders(folder, model, weights)
    write_mapped(folder)


def use(folder: Path, graph: str, decode: str) -> dict[str, float]:
    """Load and use a model; memory in MiB, seconds of loading."""
    from tinylm.runtime.session import Session

    started = time.perf_counter()
    session = Session(folder / graph, SHAPE, 1, folder / decode)
    seconds = time.perf_counter() - started
    session.append(list(range(_TOKENS)))
    for _ in range(_TOKENS):
        session.append([5])
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    values = {
        name: int(rest.split()[0]) * 1024 / _MIB
        for name, _, rest in (line.partition(":") for line in lines[:60])
        if "kB" in rest
    }
    return {
        "load_s": seconds,
        "peak_mib": values["VmHWM"],
        "resident_mib": values["VmRSS"],
        "mapped_mib": values["RssFile"],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(
        arguments
    )
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Worker() as worker:
            worker.call(make, folder)
        for graph in (MODEL_FILE, MAPPED_FILE):
            for cpu in (ANY_CPU, X86):
                with Worker() as worker:
                    found = worker.call(use, folder, graph, DECODE_FILES[cpu])
                shown = "  ".join(f"{key} {value:,.1f}" for key, value in found.items())
                print(f"{graph:12} {DECODE_FILES[cpu]:16} {shown}", flush=True)
                figures |= {f"{graph}.{cpu}.{key}": round(value, 1) for key, value in found.items()}
    print(json.dumps({"ratios": {}, "figures": figures}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
