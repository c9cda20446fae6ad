"""Training beside other programs: `python benchmarks/contention.py`; see README.md.

A model is trained on random tokens for a fixed time, alone and beside programs that keep cores busy, each time in a
process of its own, in turns. Prints a table, and one JSON object as the last line.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from report import print_results
from rich.table import Table
from token_stream import TokenStream
from workers import Worker

from tinylm.processors import usable_cores

# Width, layers and heads
SHAPES = ((128, 4, 2), (256, 6, 4))
_VOCABULARY, _TOKENS, _CONTEXT, _ROWS = 4096, 400_000, 256, 8
_WARM_UP_STEPS = 3
# What libgomp does by itself: some milliseconds
_SPINNING = {"GOMP_SPINCOUNT": "300000", "KMP_BLOCKTIME": "200"}


def tokens_per_second(shape: tuple[int, int, int], seconds: float, threads: int) -> float:
    """Speed of training as `tinylm train` does it, from the third step on, with all that it does between steps.

    Args:
        shape: width, layers and heads.
        seconds: to train for.
        threads: at most; they follow the load.
    """
    from tinylm.config import config_values, load_config, make_config
    from tinylm.run_folder import RunFolder
    from tinylm.training.callbacks import StepReport, TrainingCallback
    from tinylm.training.hardware import resolve_hardware
    from tinylm.training.model import LanguageModel
    from tinylm.training.stage import NewTraining, Stage, Task
    from tinylm.training.trainer import Trainer

    class Watch(TrainingCallback):
        """Notes when the steps were taken."""

        def __init__(self) -> None:
            self.times: list[float] = []

        def on_step(self, report: StepReport) -> None:  # noqa: ARG002
            """Note the time."""
            self.times.append(time.monotonic())

        def should_stop(self) -> bool:
            """Whether the time is over."""
            return len(self.times) > _WARM_UP_STEPS and self.times[-1] - self.times[_WARM_UP_STEPS - 1] > seconds

    width, layers, heads = shape
    model = {"d_model": width, "num_layers": layers, "nhead": heads, "dim_feedforward": 4 * width}
    values = config_values(load_config(None, (), {"model": {**model, "vocab_size": _VOCABULARY}}))
    values["train"].update(steps=1_000_000, batch_size=_ROWS, validations=1, threads=threads)
    device, precision = resolve_hardware(make_config({"train": {**values["train"], "device": "cpu"}}).train)
    values["train"].update(device=device, precision=precision)
    config = make_config(values)
    ids = np.random.default_rng(0).integers(300, _VOCABULARY, _TOKENS).astype(np.uint16)
    stream = TokenStream(ids, ids[:_CONTEXT], 1, np.ones(_VOCABULARY, np.int64))
    stage = Stage("pretrain", stream.rows(_CONTEXT, 0), [], config.train.learning_rate)
    watch = Watch()
    with TemporaryDirectory() as folder:
        run = RunFolder(Path(folder))
        run.checkpoint("last").parent.mkdir()
        task = Task(LanguageModel(config.model), [stage], stream.byte_lengths)
        Trainer(run, config, task, NewTraining(follow_load=True), callbacks=watch).train()
    times = watch.times[_WARM_UP_STEPS - 1 :]
    return (len(times) - 1) * _ROWS * _CONTEXT / (times[-1] - times[0])


@contextmanager
def busy(programs: int) -> Iterator[None]:
    """Other programs, each of which keeps a core busy."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(programs)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


@contextmanager
def spinning() -> Iterator[None]:
    """Threads that wait as they do by default, in processes that are started meanwhile."""
    before = {name: os.environ[name] for name in _SPINNING if name in os.environ}
    os.environ.update(_SPINNING)
    try:
        yield
    finally:
        for name in _SPINNING:
            del os.environ[name]
        os.environ.update(before)


def measure(shape: tuple[int, int, int], seconds: float, threads: int, repeats: int) -> dict[str, float]:
    """Medians of tokens a second: alone, alone with threads that spin, beside one and beside two programs."""

    def run() -> float:
        with Worker() as worker:
            return float(worker.call(tokens_per_second, shape, seconds, threads))

    def beside(programs: int) -> float:
        with busy(programs):
            return run()

    def spin() -> float:
        with spinning():
            return run()

    systems: dict[str, Callable[[], float]] = {
        "quiet": run,
        "spinning": spin,
        "one_busy": lambda: beside(1),
        "two_busy": lambda: beside(2),
    }
    found: dict[str, list[float]] = {name: [] for name in systems}
    for _ in range(repeats):
        for name, system in systems.items():
            found[name].append(system())
            print(f"{shape[0]} wide, {name}: {found[name][-1]:,.0f} tokens/s", file=sys.stderr)
    return {name: statistics.median(values) for name, values in found.items()}


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20, help="of training, each time (default: 20)")
    parser.add_argument("--repeats", type=int, default=3, help="of all, of which the median counts (default: 3)")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="of PyTorch (default: all cores)")
    parser.add_argument("--out", type=Path, help="a file for the JSON object")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print.

    Returns:
        0.
    """
    chosen = parse_arguments(arguments)
    table = Table(title="training, tokens/s", title_justify="left", title_style="bold")
    for heading in ("model", "quiet", "spinning", "beside one", "beside two"):
        table.add_column(heading, justify="left" if heading == "model" else "right", no_wrap=True)
    ratios: dict[str, float] = {}
    figures: dict[str, float] = {}
    for shape in SHAPES:
        speeds = measure(shape, chosen.seconds, chosen.threads, chosen.repeats)
        table.add_row(f"{shape[0]} wide, {shape[1]} layers", *(f"{value:,.0f}" for value in speeds.values()))
        figures |= {f"{shape[0]}.{name}": value for name, value in speeds.items()}
        mark = "" if shape == SHAPES[0] else f"{shape[0]}."
        ratios |= {
            f"{mark}busy_over_quiet": speeds["two_busy"] / speeds["quiet"],
            f"{mark}one_busy_over_quiet": speeds["one_busy"] / speeds["quiet"],
            f"{mark}quiet_over_spinning": speeds["quiet"] / speeds["spinning"],
        }
    print_results(table, ratios, figures, chosen.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
