"""Model FLOPs utilization of training on a GPU, and what both architectures learn in equal time.

Everything goes through `tinylm.training.trainer` as `tinylm train` uses it; speeds are those of its metrics.jsonl.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from tinylm.config import Config, TokenizerConfig, make_config
from tinylm.data.dataset.batches import Batch
from tinylm.data.dataset.disk_cache import DataCache
from tinylm.data.dataset.stages import prepare_stage, tokenize_files
from tinylm.data.dataset.survey import find_tokenizer, survey_files
from tinylm.data.readers.paths import find_files
from tinylm.evaluation import byte_lengths_of, make_windows
from tinylm.run_folder import RunFolder
from tinylm.tokenizer import load_tokenizer
from tinylm.training.callbacks import TrainingCallback
from tinylm.training.hardware import resolve_compile, resolve_hardware
from tinylm.training.mfu import measured_flops, peak_flops, training_flops
from tinylm.training.model import LanguageModel
from tinylm.training.stage import NewTraining, Stage, Task
from tinylm.training.trainer import Trainer

WARM_UP_STEPS = 3
VALIDATION_TOKENS = 65_536


class RandomBatches:
    """Tokens without meaning, as for speed they do."""

    def __init__(self, vocab_size: int, context_length: int) -> None:
        self._vocab_size, self._length = vocab_size, context_length

    def batch(self, index: int, size: int) -> Batch:
        """Rows of one document each."""
        ids = np.random.default_rng(index).integers(0, self._vocab_size, (size, self._length + 1))
        return Batch(ids[:, :-1], ids[:, 1:])


def main() -> int:
    """Measure, print tables, and the results as JSON on the last line."""
    options = _parser().parse_args()
    device = torch.device(options.device)
    on_gpu = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if on_gpu else device.type
    measured = measured_flops(device, size=8192 if on_gpu else 512)
    peak = peak_flops(device) or measured
    print(f"{name}, torch {torch.__version__}: {measured / 1e12:,.1f} TFLOP/s measured in bf16, ", end="")
    print(f"utilization is of {peak / 1e12:,.1f}")
    figures: dict[str, float] = {"peak_tflops": peak / 1e12, "measured_tflops": measured / 1e12}
    for arch in options.arch:
        for accumulate in options.accumulate:
            figures.update(_speed(options, arch, accumulate, peak))
    _print_speeds(options, figures)
    if options.data is not None:
        figures.update(_losses(options))
        _print_losses(options, figures)
    rounded = {key: float(f"{value:.4g}") for key, value in figures.items()}
    result = json.dumps({"device": name, "torch": torch.__version__, "figures": rounded})
    if options.out is not None:
        options.out.write_text(result + "\n", "utf-8")
    print(result)
    return 0


def _speed(options: argparse.Namespace, arch: str, accumulate: int, peak: float) -> dict[str, float]:
    """Tokens a second, utilization and memory of some steps, the first few left out."""
    steps = WARM_UP_STEPS + max(options.steps // accumulate, 4)
    config = _config(options, arch, options.vocabulary, steps=steps, accumulate=accumulate, validations=1)
    torch.manual_seed(config.train.seed)
    model = LanguageModel(config.model)
    stage = Stage("pretrain", RandomBatches(options.vocabulary, options.context), [], 1e-4)
    if options.device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    lines = _train(config, model, stage, np.ones(options.vocabulary, np.int64), None)
    seconds = {line["step"]: line["seconds"] for line in lines if "seconds" in line}
    per_step = (seconds[steps] - seconds[WARM_UP_STEPS]) / (steps - WARM_UP_STEPS)
    positions = options.batch * options.context * accumulate
    mark = f"{arch}.{positions}"
    values = {
        "tokens_per_second": positions / per_step,
        "utilization": training_flops(model, positions, positions) / per_step / peak,
        "first_step_s": seconds[1],
        "parameters": float(sum(parameter.numel() for parameter in model.parameters())),
    }
    if options.device.startswith("cuda"):
        values["peak_memory_gb"] = torch.cuda.max_memory_allocated() / 1e9
    return {f"{mark}.{key}": value for key, value in values.items()}


def _losses(options: argparse.Namespace) -> dict[str, float]:
    """What each architecture reaches on held-out text in the same time, compilation included."""
    cache = DataCache()
    survey, _ = survey_files("pretrain", find_files([options.data]), 0.02, cache)
    if options.tokenizer is not None:
        tokenizer = load_tokenizer(options.tokenizer)
    else:
        tokenizer, _ = find_tokenizer([survey], 4096, TokenizerConfig(), cache)
    shards = tokenize_files(survey, tokenizer, cache, torch.get_num_threads())
    figures: dict[str, float] = {}
    for arch in options.arch:
        config = _config(options, arch, tokenizer.vocab_size, minutes=options.seconds / 60, validations=2, accumulate=1)
        data = prepare_stage(survey, shards, tokenizer, config)
        windows = make_windows(data.held_out, options.context, tokenizer.bos_id, VALIDATION_TOKENS)
        stage = Stage("pretrain", data.batches, windows, options.learning_rate)
        deadline = time.monotonic() + options.seconds
        torch.manual_seed(config.train.seed)
        model = LanguageModel(config.model)
        lines = _train(config, model, stage, byte_lengths_of(tokenizer), deadline)
        last = next(line for line in reversed(lines) if "validation_loss" in line)
        figures[f"{arch}.loss"] = last["validation_loss"]
        figures[f"{arch}.bits_per_byte"] = last["bits_per_byte"]
        figures[f"{arch}.tokens"] = float(last["step"] * options.batch * options.context)
        figures[f"{arch}.trained_parameters"] = float(sum(parameter.numel() for parameter in model.parameters()))
    return figures


def _train(
    config: Config, model: LanguageModel, stage: Stage, byte_lengths: NDArray[np.int64], deadline: float | None
) -> list[dict[str, Any]]:
    """What a run logs."""
    with TemporaryDirectory() as folder:
        run = RunFolder(Path(folder))
        run.checkpoint("last").parent.mkdir()
        task = Task(model, [stage], byte_lengths)
        Trainer(run, config, task, NewTraining(deadline), callbacks=_Warnings()).train()
        return [json.loads(line) for line in run.metrics.read_text("utf-8").splitlines()]


class _Warnings(TrainingCallback):
    """Prints the warnings of a training."""

    def on_warning(self, message: str) -> None:
        """Print it."""
        print(message, file=sys.stderr)


def _config(options: argparse.Namespace, arch: str, vocab_size: int, **train: Any) -> Config:
    values = {
        "model": {
            "arch": arch,
            "vocab_size": vocab_size,
            "d_model": options.width,
            "nhead": options.heads,
            "num_layers": options.layers,
            "dim_feedforward": 4 * options.width,
            "context_length": options.context,
        },
        "train": {
            "batch_size": options.batch,
            "optimizer": options.optimizer,
            "device": options.device,
            "compile": options.compile,
            "learning_rate": options.learning_rate,
            "threads": torch.get_num_threads(),
            **train,
        },
    }
    wanted = make_config(values).train
    device, precision = resolve_hardware(wanted)
    values["train"].update(device=device, precision=precision, compile=resolve_compile(wanted, device))
    return make_config(values)


def _print_speeds(options: argparse.Namespace, figures: dict[str, float]) -> None:
    table = Table(title=f"{options.layers} layers, {options.width} wide, {options.optimizer}", title_justify="left")
    for heading in ("architecture", "parameters", "tokens a step", "tokens/s", "MFU", "first step s", "memory GB"):
        table.add_column(heading, justify="right")
    for mark in dict.fromkeys(key.rpartition(".")[0] for key in figures if key.endswith(".utilization")):
        arch, _, positions = mark.partition(".")
        table.add_row(
            arch,
            f"{figures[f'{mark}.parameters']:,.0f}",
            f"{int(positions):,}",
            f"{figures[f'{mark}.tokens_per_second']:,.0f}",
            f"{figures[f'{mark}.utilization']:.1%}",
            f"{figures[f'{mark}.first_step_s']:.0f}",
            f"{figures.get(f'{mark}.peak_memory_gb', 0):.1f}",
        )
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def _print_losses(options: argparse.Namespace, figures: dict[str, float]) -> None:
    table = Table(title=f"after {options.seconds:.0f} s each", title_justify="left")
    for heading in ("architecture", "parameters", "tokens seen", "validation loss", "bits per byte"):
        table.add_column(heading, justify="right")
    for arch in options.arch:
        table.add_row(
            arch,
            f"{figures[f'{arch}.trained_parameters']:,.0f}",
            f"{figures[f'{arch}.tokens']:,.0f}",
            f"{figures[f'{arch}.loss']:.4f}",
            f"{figures[f'{arch}.bits_per_byte']:.4f}",
        )
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    _add(parser, "--device", "cuda", "that is measured")
    parser.add_argument("--arch", nargs="+", default=["classic", "modern"], choices=["classic", "modern"])
    _add(parser, "--optimizer", "muon", "muon or adamw")
    _add(parser, "--compile", "on", "auto, on or off")
    _add(parser, "--layers", 12, "Transformer blocks")
    _add(parser, "--width", 768, "d_model")
    _add(parser, "--heads", 12, "attention heads")
    _add(parser, "--context", 1024, "tokens a row")
    _add(parser, "--vocabulary", 50_304, "of the random tokens")
    _add(parser, "--batch", 64, "rows a pass")
    parser.add_argument(
        "--accumulate", type=int, nargs="+", default=[1, 8], help="passes a step, where speed is measured"
    )
    _add(parser, "--steps", 64, "passes that are timed")
    parser.add_argument("--data", type=Path, help="text to learn from; without it, only speed is measured")
    _add(parser, "--seconds", 90.0, "that each architecture learns for")
    _add(parser, "--learning-rate", 2e-3, "its peak")
    parser.add_argument("--tokenizer", type=Path, help="a tokenizer.model; without it, one of 4,096 pieces is trained")
    parser.add_argument("--out", type=Path, help="a file for the JSON object")
    return parser


def _add(parser: argparse.ArgumentParser, name: str, default: Any, text: str) -> None:
    parser.add_argument(name, type=type(default), default=default, help=text)


if __name__ == "__main__":
    sys.exit(main())
