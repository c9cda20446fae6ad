"""Training beside nanoGPT on the same tokens: `python benchmarks/training.py --peer PATH --data FILE`; see README.md.

Prints a table, and one JSON object as the last line.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from peers.nanogpt import NanoGPT, Trained
from report import rounded
from rich.console import Console
from rich.table import Table
from token_stream import TokenStream, mean_loss
from workers import Worker

from tinylm.config import TrainConfig, config_values, load_config, make_config
from tinylm.errors import TinyLMError
from tinylm.evaluation import Score
from tinylm.processors import usable_threads
from tinylm.run_folder import RunFolder, StageName
from tinylm.training.callbacks import StepReport, TrainingCallback
from tinylm.training.hardware import resolve_hardware
from tinylm.training.mfu import measured_flops
from tinylm.training.model import LanguageModel
from tinylm.training.stage import NewTraining, Stage, Task
from tinylm.training.trainer import Trainer

LAYERS, HEADS, WIDTH, CONTEXT, BATCH, VOCABULARY = 6, 4, 256, 256, 16, 4096
PEER_SHAPE = {"n_layer": LAYERS, "n_head": HEADS, "n_embd": WIDTH, "block_size": CONTEXT, "batch_size": BATCH}
_SPEED_STEPS, _SPEED_ROUNDS = 24, 3
_VALIDATIONS = 30
_MATRIX_SIZE, _SMALL_MATRIX_SIZE, _MATRIX_SECONDS = 2048, 256, 2.0
TARGETS = {
    "tokens_per_second": ">= 1.7",
    "loss_gap_nats": ">= 0.7",
    "time_to_peer_loss": "<= 0.4",
    "bf16_utilization": ">= 0.5",
}


@dataclass
class Curve(TrainingCallback):
    """What became of a run.

    Attributes:
        seconds: of training alone, up to each validation.
        losses: of the validations, in nats a token.
        bits_per_byte: of the same.
        tokens: trained on in all.
        parameters: of the model.
        step_seconds: of each step, in training alone.
    """

    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    bits_per_byte: list[float] = field(default_factory=list)
    tokens: int = 0
    parameters: int = 0
    step_seconds: list[float] = field(default_factory=list)

    @property
    def total_seconds(self) -> float:
        """Of training alone."""
        return sum(self.step_seconds)

    @property
    def tokens_per_second(self) -> float:
        """Of its middle step, as the machine may be busy with something else during some."""
        return self.tokens / len(self.step_seconds) / statistics.median(self.step_seconds)


@dataclass
class _Recorder(TrainingCallback):
    curve: Curve
    trainer: Trainer | None = None

    def on_step(self, report: StepReport) -> None:  # noqa: ARG002
        """A step."""
        assert self.trainer is not None
        self.curve.step_seconds.append(self.trainer.state.seconds - self.curve.total_seconds)

    def on_validation(self, stage: StageName, step: int, result: Score, is_best: bool) -> None:  # noqa: ARG002
        """A point of the curve."""
        assert self.trainer is not None
        self.curve.seconds.append(self.trainer.state.seconds)
        self.curve.losses.append(result.loss)
        self.curve.bits_per_byte.append(result.bits_per_byte)


def train(stream: TokenStream, overrides: Sequence[str], steps: int, validations: int, threads: int) -> Curve:
    """TinyLM's own recipe, every other hyperparameter at its default.

    Args:
        stream: of tokens.
        overrides: of hyperparameters, as section.key=value.
        steps: to be taken.
        validations: on the way; 0: none.
        threads: of PyTorch.
    """
    base: dict[str, dict[str, Any]] = {
        "model": {
            "d_model": WIDTH,
            "nhead": HEADS,
            "num_layers": LAYERS,
            "dim_feedforward": 4 * WIDTH,
            "context_length": CONTEXT,
        },
        "train": {"batch_size": BATCH},
    }
    values = config_values(load_config(None, overrides, base))
    values["model"]["vocab_size"] = stream.vocab_size
    values["train"].update(steps=steps, validations=max(1, validations), threads=threads)
    torch.set_num_threads(threads)
    device, precision = resolve_hardware(make_config(values).train)
    values["train"].update(device=device, precision=precision)
    config = make_config(values)
    torch.manual_seed(config.train.seed)
    model = LanguageModel(config.model)
    length = config.model.context_length
    windows = stream.windows(length) if validations else []
    stage = Stage("pretrain", stream.rows(length, config.train.seed), windows, config.train.learning_rate)
    curve = Curve(parameters=sum(parameter.numel() for parameter in model.parameters()))
    recorder = _Recorder(curve)
    task = Task(model, [stage], stream.byte_lengths)
    with TemporaryDirectory() as folder:
        run = RunFolder(Path(folder))
        run.checkpoint("last").parent.mkdir()
        recorder.trainer = Trainer(run, config, task, NewTraining(), callbacks=recorder)
        state = recorder.trainer.train()
    curve.tokens = state.tokens
    return curve


def matrix_rate(threads: int) -> float:
    """Operations a second of a product of large bf16 matrices; of small ones where the processor has no bf16."""
    torch.set_num_threads(threads)
    has_bf16 = resolve_hardware(TrainConfig(device="cpu"))[1] == "bf16"
    return measured_flops(torch.device("cpu"), _MATRIX_SIZE if has_bf16 else _SMALL_MATRIX_SIZE, _MATRIX_SECONDS)


def time_to(loss: float, curve: Curve) -> float:
    """Seconds of training to a loss, in a straight line between two validations; infinite where it is not reached."""
    before_s, before = 0.0, float("inf")
    for seconds, now in zip(curve.seconds, curve.losses, strict=True):
        if now <= loss:
            if before == float("inf"):
                return seconds
            return before_s + (seconds - before_s) * (before - loss) / (before - now)
        before_s, before = seconds, now
    return float("inf")


@dataclass(frozen=True)
class Run:
    """What is compared.

    Attributes:
        stream: of tokens.
        peer: nanoGPT.
        seconds: of training, each.
        threads: of both.
        learning_rates: of the peer; the best counts.
        archs: of ours; the first is compared with the peer.
    """

    stream: TokenStream
    peer: NanoGPT
    seconds: float
    threads: int
    learning_rates: Sequence[float]
    archs: Sequence[str]

    def own(self, arch: str, optimizer: str, steps: int, validations: int = 0) -> Curve:
        """Train ours in a process of its own."""
        overrides = [f"model.arch={arch}", f"train.optimizer={optimizer}"]
        with Worker() as worker:
            return worker.call(train, self.stream, overrides, steps, validations, self.threads)


def speeds(run: Run) -> dict[str, float]:
    """Tokens a second with AdamW, in turns, and of our default recipe."""
    positions = BATCH * CONTEXT
    measured: dict[str, list[float]] = {"peer": [], "adamw": [], "muon": []}
    for _ in range(_SPEED_ROUNDS):
        times = run.peer.train(PEER_SHAPE, _SPEED_STEPS, run.learning_rates[0]).step_seconds
        measured["peer"].append(positions / statistics.median(times))
        for optimizer in ("adamw", "muon"):
            curve = run.own(run.archs[0], optimizer, 2 * _SPEED_STEPS)
            measured[optimizer].append(curve.tokens_per_second)
    return {name: statistics.median(values) for name, values in measured.items()}


def measure(run: Run) -> tuple[dict[str, float], dict[str, float]]:
    """Everything: ratios and figures."""
    say = Console(stderr=True, highlight=False).print
    say("Speed, in turns")
    matrix = [_matrix_rate(run)]
    speed = speeds(run)
    figures = {f"{name}_tokens_per_second": value for name, value in speed.items()}
    windows = run.stream.windows(CONTEXT)
    steps = max(2, round(run.seconds * speed["peer"] / (BATCH * CONTEXT)))
    peer_losses: dict[float, float] = {}
    for rate in run.learning_rates:
        say(f"nanoGPT, learning rate {rate:g}, {steps} iterations")
        trained = run.peer.train(PEER_SHAPE, steps, rate)
        peer_losses[rate] = mean_loss(lambda w, trained=trained: run.peer.losses(trained, w, BATCH), windows)
        figures[f"peer_loss_{rate:g}"] = peer_losses[rate]
        figures[f"peer_seconds_{rate:g}"] = _total(trained)
    best = min(peer_losses.values())
    for arch in run.archs:
        wanted = run.seconds * (speed["muon"] if arch == run.archs[0] else _speed_of(run, arch))
        steps = max(2, round(wanted / (BATCH * CONTEXT)))
        say(f"TinyLM, {arch}, {steps} steps")
        curve = run.own(arch, "muon", steps, min(_VALIDATIONS, steps))
        figures[f"{arch}_loss"], figures[f"{arch}_seconds"] = curve.losses[-1], curve.total_seconds
        figures[f"{arch}_seconds_to_peer_loss"] = time_to(best, curve)
        figures[f"{arch}_parameters"] = curve.parameters
        figures[f"{arch}_run_tokens_per_second"] = curve.tokens / curve.total_seconds
    matrix.append(_matrix_rate(run))
    first = run.archs[0]
    figures["bf16_matrix_gflops"] = max(matrix) / 1e9
    flops = 6 * figures[f"{first}_parameters"] * figures[f"{first}_run_tokens_per_second"]
    ratios = {
        "tokens_per_second": speed["adamw"] / speed["peer"],
        "loss_gap_nats": best - figures[f"{first}_loss"],
        "time_to_peer_loss": figures[f"{first}_seconds_to_peer_loss"] / run.seconds,
        "bf16_utilization": flops / max(matrix),
    }
    return ratios, figures


def _matrix_rate(run: Run) -> float:
    with Worker() as worker:
        return worker.call(matrix_rate, run.threads)


def _speed_of(run: Run, arch: str) -> float:
    return run.own(arch, "muon", 2 * _SPEED_STEPS).tokens_per_second


def _total(trained: Trained) -> float:
    return statistics.mean(trained.step_seconds) * (len(trained.step_seconds) + 1)


def print_table(ratios: dict[str, float], figures: dict[str, float]) -> None:
    """What was measured, for people."""
    table = Table(title="training beside nanoGPT", title_justify="left", title_style="bold")
    for heading in ("figure", "measured", "target"):
        table.add_column(heading, justify="left" if heading == "figure" else "right", no_wrap=True)
    for name, value in ratios.items():
        table.add_row(name, f"{value:,.4g}", TARGETS[name], style="bold")
    for name, value in figures.items():
        table.add_row(name, f"{value:,.5g}", "")
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, required=True, help="a copy of karpathy/nanoGPT")
    parser.add_argument("--data", type=Path, required=True, help="a file of raw text")
    parser.add_argument("--seconds", type=float, default=150, help="of training, each (default: 150)")
    parser.add_argument("--threads", type=int, default=usable_threads(), help="of PyTorch (default: usable cores)")
    parser.add_argument(
        "--learning-rates",
        type=float,
        nargs="+",
        default=[1e-3, 2e-3, 4e-3],
        metavar="RATE",
        help="of the peer, the best of which counts (default: 1e-3 2e-3 4e-3)",
    )
    parser.add_argument("--arch", nargs="+", choices=["classic", "modern"], default=["classic"], help="of ours")
    parser.add_argument("--out", type=Path, help="a file for the JSON object")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print.

    Returns:
        0, or 1 where something could not be measured.
    """
    chosen = parse_arguments(arguments)
    try:
        with TemporaryDirectory() as folder:
            peer = NanoGPT(chosen.peer, Path(folder), chosen.threads)
            stream = TokenStream.of(chosen.data, VOCABULARY, chosen.threads)
            peer.prepare(stream)
            run = Run(stream, peer, chosen.seconds, chosen.threads, chosen.learning_rates, chosen.arch)
            ratios, figures = measure(run)
    except TinyLMError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print_table(ratios, figures)
    result = json.dumps({"ratios": rounded(ratios), "figures": rounded(figures)})
    if chosen.out is not None:
        chosen.out.write_text(result + "\n", "utf-8")
    print(result)
    return 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
