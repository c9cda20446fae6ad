"""TinyLM against llama.cpp and onnxruntime-genai: `python benchmarks/decode.py`; see benchmarks/README.md.

Graphs of random weights, or a run of one's own. Each system has a process of its own; they are measured in turns, one
at a time. Prints a table for each model and number of threads, and one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import workers
from bandwidth import read_bandwidth
from loops import METRICS
from report import Measurements, figures, print_table, ratios, rounded, suffix
from shapes import SHAPES, Shape
from systems import System, choose_systems, export_run, write_models

from tinylm.errors import TinyLMError

_SETTLE = 0.02
"""Seconds between two measurements, in which thread pools stop spinning."""

_QUIET = 0.5
"""Load of the machine that hardly disturbs."""


def measure(
    shape: Shape, threads: int, systems: Sequence[System], models: Path, repeats: int
) -> tuple[dict[str, Measurements], list[float]]:
    """Measure all systems in turns.

    Args:
        shape: of the models.
        threads: of each system.
        systems: what is measured.
        models: the folder of their models.
        repeats: of every metric.

    Returns:
        what was measured, by the systems' keys, and the bandwidth in GB/s, as often as it was measured meanwhile.

    Raises:
        TinyLMError: names the system that does not work.
    """
    group = {system.key: Measurements() for system in systems}
    bandwidths = []
    with ExitStack() as stack:
        memory = stack.enter_context(workers.Worker())
        pool = {system.key: stack.enter_context(workers.Worker()) for system in systems}
        for system in systems:
            path = models / system.model
            try:
                once = pool[system.key].call(workers.load, system.kind, path, shape.config, threads, system.options)
            except Exception as error:  # noqa: BLE001 - every runtime has its own
                raise TinyLMError(f"{system.title} does not run: {str(error).splitlines()[0]}") from None
            files = path.iterdir() if path.is_dir() else [path]
            group[system.key].once = {**once, "file_mb": sum(file.stat().st_size for file in files) / 1e6}
        for metric in METRICS:
            for repeat in range(repeats):
                bandwidths.append(memory.call(read_bandwidth, threads))
                # There and back, so that none profits from its place
                for system in systems if repeat % 2 else reversed(systems):
                    time.sleep(_SETTLE)
                    taken = pool[system.key].call(workers.seconds, metric)
                    group[system.key].seconds.setdefault(metric.name, []).append(taken)
        for system in systems:
            if "load_s" in group[system.key].once:
                group[system.key].once["peak_rss_mb"] = pool[system.key].call(workers.peak_rss_mb)
    return group, bandwidths


def run(
    subjects: Mapping[str, Callable[[Path], Shape]],
    thread_counts: Sequence[int],
    systems: Sequence[System],
    repeats: int,
) -> dict[str, dict[str, float | list[float]]]:
    """Measure every model with every number of threads, and print a table of each.

    Args:
        subjects: by name, what writes the model of each system into a folder and returns its shape.
        thread_counts: of each system.
        systems: what is measured.
        repeats: of every metric.

    Returns:
        `ratios` and `figures`, see benchmarks/README.md.

    Raises:
        TinyLMError: a model cannot be written, or a system does not work.
    """
    all_ratios: dict[str, float | list[float]] = {}
    all_figures: dict[str, float | list[float]] = {}
    all_bandwidths: dict[int, list[float]] = {}
    for name, write in subjects.items():
        with TemporaryDirectory() as folder:
            print(f"{name}: making models", file=sys.stderr)
            shape = write(Path(folder))
            for threads in thread_counts:
                print(f"{name}: measuring with {threads} threads", file=sys.stderr)
                group, bandwidths = measure(shape, threads, systems, Path(folder), repeats)
                all_bandwidths.setdefault(threads, []).extend(bandwidths)
                bandwidth = statistics.median(bandwidths)
                print_table(f"{name}, threads: {threads}; memory reads {bandwidth:.1f} GB/s", systems, group)
                all_ratios.update(ratios(name, threads, group))
                all_figures.update(figures(name, shape, threads, systems, group, bandwidth * 1e9))
    for threads, values in all_bandwidths.items():
        all_figures[f"bandwidth_gb_s{suffix(threads)}"] = statistics.median(values)
    return {"ratios": rounded(all_ratios), "figures": rounded(all_figures)}


def _write_random(name: str, systems: Sequence[System], folder: Path) -> Shape:
    """Write the models of a shape, with random weights."""
    write_models(SHAPES[name], systems, folder)
    return SHAPES[name]


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line, checked before anything is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES), help="default: all")
    parser.add_argument(
        "--run", type=Path, metavar="RUN", help="measure a run of arch = llama, trained or imported, instead of shapes"
    )
    parser.add_argument("--threads", nargs="+", type=_positive, default=[1, 2], metavar="N", help="default: 1 2")
    parser.add_argument("--repeats", type=_positive, default=9, metavar="N", help="of each measurement; default: 9")
    parser.add_argument(
        "--llama-bench", type=Path, metavar="PATH", help="measure llama.cpp by this program instead of its library"
    )
    parser.add_argument("--without-peers", action="store_true", help="measure TinyLM alone")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the JSON object to a file as well")
    chosen = parser.parse_args(arguments)
    if chosen.llama_bench is not None and shutil.which(chosen.llama_bench) is None:
        parser.error(f"--llama-bench {chosen.llama_bench}: not a program; give the path of llama-bench itself")
    if chosen.out is not None and (chosen.out.is_dir() or not os.access(chosen.out.parent, os.W_OK)):
        parser.error(f"--out {chosen.out}: cannot be written; give a file in a folder that exists")
    return chosen


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print.

    Returns:
        0, or 1 where a peer is missing or a system fails.
    """
    chosen = parse_arguments(arguments)
    systems, missing = choose_systems(chosen.llama_bench, chosen.without_peers, chosen.run is not None)
    if missing:
        packages = " ".join(missing)
        print(f"Left out, as packages are missing: `pip install {packages}`, or --without-peers", file=sys.stderr)
    load = os.getloadavg()[0]
    if load > _QUIET:
        print(f"Warning: other programs are running (load {load:.1f}); the figures will be unsteady", file=sys.stderr)
    subjects: dict[str, Callable[[Path], Shape]]
    if chosen.run is not None:
        subjects = {"run": partial(export_run, chosen.run)}
    else:
        subjects = {name: partial(_write_random, name, systems) for name in chosen.shapes}
    try:
        results = run(subjects, chosen.threads, systems, chosen.repeats)
    except TinyLMError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    line = json.dumps(results)
    if chosen.out is not None:
        chosen.out.write_text(line + "\n", encoding="utf-8")
    print(line)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
