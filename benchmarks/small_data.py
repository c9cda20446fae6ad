"""`tinylm train --minutes` on little text, beside an earlier version and beside nanoGPT; see README.md.

Every model is trained by its own command in the same wall clock, one after the other, and scored on the same
validation file in bits per byte. nanoGPT gets the tokenizer, the shape and the batch that `tinylm train` chose; the
best of its dropouts and learning rates counts, each at its best checkpoint by the validation file. Prints a table, and
one JSON object as the last line.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from commands import TINYLM, run_command
from numpy.typing import NDArray
from peers.nanogpt import NanoGPT
from peers.nanogpt import Trained as TrainedPeer
from report import print_results
from rich.table import Table
from token_stream import TokenStream

from tinylm.config import Config, load_config
from tinylm.data.dataset.tokens import tokenize_all
from tinylm.data.readers.front_door import iter_documents
from tinylm.errors import TinyLMError
from tinylm.evaluation import Window, byte_lengths_of, make_windows, score
from tinylm.processors import usable_threads
from tinylm.tokenizer import Tokenizer, load_tokenizer

ARCHITECTURES = ("classic", "modern")
_DROPOUTS, _LEARNING_RATES = (0.0, 0.2), (1e-3, 2e-3, 4e-3)
_PROBE_STEPS, _EVALUATIONS = 20, 12
_EVALUATED_STEPS = 10 / 3  # of time: 10 batches, forwards alone
_SCORED_ROWS = 16
_SEPARATOR = "\n<|endoftext|>\n"


@dataclass(frozen=True)
class Trained:
    """What a command trained.

    Attributes:
        bits_per_byte: on the validation file.
        config: of the run.
        tokenizer: of the run.
    """

    bits_per_byte: float
    config: Config
    tokenizer: Tokenizer

    @property
    def shape(self) -> str:
        """For people."""
        model, train = self.config.model, self.config.train
        return (
            f"{model.d_model}x{model.num_layers}, {model.vocab_size} pieces, {train.batch_size} rows, weight decay "
            f"{train.weight_decay:g}, dropout {model.dropout:g}"
        )


@dataclass(frozen=True)
class Task:
    """What all are given.

    Attributes:
        data: a file of raw text.
        validation: another one.
        minutes: of each training.
        seed: of the runs of TinyLM.
    """

    data: Path
    validation: Path
    minutes: float
    seed: int

    def train(self, command: str, arch: str) -> Trained:
        """Train by a `tinylm` command with no other option, and score by the same.

        Raises:
            TinyLMError: the command fails.
        """
        with TemporaryDirectory() as folder:
            run = Path(folder) / "run"
            # Each begins with nothing tokenized, as its user would
            environment = {**os.environ, "TINYLM_DATA_CACHE": str(Path(folder) / "cache")}
            if command != TINYLM:  # the other version's own modules
                environment.pop("PYTHONPATH", None)
            options = ["--pretrain", str(self.data), "--minutes", f"{self.minutes:g}", "--out", str(run)]
            options += ["--set", f"model.arch={arch}", "--set", f"train.seed={self.seed}"]
            run_command([command, "train", *options], environment)
            evaluated = run_command(
                [command, "eval", str(run), "--data", str(self.validation), "--full", "--json"], environment
            )
            bits_per_byte = float(json.loads(evaluated)["bits_per_byte"])
            # A configuration of another version may have other keys
            config = load_config(run / "config.toml") if command == TINYLM else Config()
            return Trained(bits_per_byte, config, load_tokenizer(run / "tokenizer.model"))


class Peer:
    """nanoGPT on the same text.

    Args:
        path: of its repository.
        task: what it is given.
        like: the run whose tokenizer, shape and batch it takes.
        folder: for its files.
        threads: of PyTorch.
    """

    def __init__(self, path: Path, task: Task, like: Trained, folder: Path, threads: int) -> None:
        self._task, self._tokenizer, self._model = task, like.tokenizer, like.config.model
        self._nanogpt = NanoGPT(path, folder, threads)
        training, held_out = (self._ids(file, threads) for file in (task.data, task.validation))
        self._byte_lengths = byte_lengths_of(self._tokenizer)
        self._nanogpt.prepare(TokenStream(training, held_out, self._tokenizer.bos_id, self._byte_lengths))
        self._windows = self._make_windows()
        self._shape = {
            "n_layer": self._model.num_layers,
            "n_head": self._model.nhead,
            "n_embd": self._model.d_model,
            "block_size": self._model.context_length,
            "batch_size": like.config.train.batch_size,
        }

    def bits_per_byte(self) -> Iterator[tuple[str, float]]:
        """Each dropout and learning rate with the score of its best checkpoint."""
        for dropout in _DROPOUTS:
            for rate in _LEARNING_RATES:
                seconds = statistics.median(self._nanogpt.train(self._shape, _PROBE_STEPS, rate, dropout).step_seconds)
                # It evaluates on training and validation data
                steps = int(60 * self._task.minutes / seconds - 2 * _EVALUATIONS * _EVALUATED_STEPS)
                trained = self._nanogpt.train(self._shape, max(_EVALUATIONS, steps), rate, dropout, _EVALUATIONS)

                with redirect_stdout(io.StringIO()):  # nanoGPT's model prints its size
                    result = score(partial(self._losses, trained), self._windows, self._byte_lengths)
                yield f"dropout {dropout:g}, learning rate {rate:g}", result.bits_per_byte

    def _losses(self, trained: TrainedPeer, windows: Sequence[Window]) -> float:
        groups = groupby(sorted(windows, key=_length), key=_length)
        return sum(self._nanogpt.losses(trained, list(group), _SCORED_ROWS) for _, group in groups)

    def _ids(self, file: Path, threads: int) -> NDArray[np.uint16]:
        encoded = self._tokenizer.encode_batch(list(iter_documents(file)), threads)
        bos, eos = self._tokenizer.bos_id, self._tokenizer.eos_id
        return np.array([id_ for document in encoded for id_ in (bos, *document, eos)], np.uint16)

    def _make_windows(self) -> list[Window]:
        """The windows of `tinylm eval`, but opened by the token before where it is not the beginning.

        nanoGPT sees `<bos>` only before a document.
        """
        bos = self._tokenizer.bos_id
        sequences = tokenize_all(iter_documents(self._task.validation), self._tokenizer)
        windows = make_windows(sequences, self._model.context_length, bos)
        last = self._tokenizer.eos_id
        continued: list[Window] = []
        for window in windows:
            opening = bos if last == self._tokenizer.eos_id else last
            continued.append(Window(np.concatenate(([opening], window.inputs[1:])), window.targets))
            last = int(window.targets[-1])
        return continued


def _length(window: Window) -> int:
    return len(window.inputs)


def write_part(data: Path, megabytes: float, target: Path) -> None:
    """Write the first documents of a file, as many as there are in so many megabytes; all of a smaller file."""
    size, chosen = 0, []
    for document in iter_documents(data):
        chosen.append(document)
        size += len(document.encode()) + len(_SEPARATOR)
        if size >= megabytes * 1e6:
            break
    target.write_text(_SEPARATOR.join([*chosen, ""]), "utf-8")


def measure(chosen: argparse.Namespace, megabytes: float, folder: Path) -> dict[str, list[float]]:
    """Bits per byte of every system at one size, one for each repetition."""
    data = folder / "part.txt"
    write_part(chosen.data, megabytes, data)
    systems = {arch: (TINYLM, arch) for arch in chosen.arch}
    if chosen.baseline is not None:
        systems |= {f"baseline {arch}": (str(chosen.baseline), arch) for arch in chosen.arch}
    found: dict[str, list[float]] = {}
    for repetition in range(chosen.repeats):
        task = Task(data, chosen.validation, chosen.minutes, repetition + 1)
        for name, (command, arch) in systems.items():
            trained = task.train(command, arch)
            found.setdefault(name, []).append(trained.bits_per_byte)
            shape = trained.shape if command == TINYLM else ""
            print(f"{megabytes:g} MB, {name}: {trained.bits_per_byte:.4f} {shape}", file=sys.stderr)
            if arch == chosen.arch[0] and command == TINYLM:
                ours = trained
        if chosen.peer is not None:
            (folder / f"peer-{repetition}").mkdir()
            peer = Peer(chosen.peer, task, ours, folder / f"peer-{repetition}", usable_threads())
            results = []
            for name, bits in peer.bits_per_byte():
                print(f"{megabytes:g} MB, nanoGPT, {name}: {bits:.4f}", file=sys.stderr)
                results.append(bits)
            found.setdefault("nanoGPT", []).append(min(results))
    return found


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="raw text to train on")
    parser.add_argument("--validation", type=Path, required=True, help="raw text to be scored on")
    parser.add_argument(
        "--megabytes", type=float, nargs="+", default=[0.2, 1, 4], help="of the text (default: 0.2 1 4)"
    )
    parser.add_argument("--minutes", type=float, default=5, help="of each training (default: 5)")
    parser.add_argument("--baseline", type=Path, metavar="TINYLM", help="the `tinylm` command of an earlier version")
    parser.add_argument("--peer", type=Path, help="a copy of karpathy/nanoGPT")
    parser.add_argument("--arch", nargs="+", choices=ARCHITECTURES, default=list(ARCHITECTURES))
    parser.add_argument("--repeats", type=int, default=1, help="of all, with other seeds (default: 1)")
    parser.add_argument("--out", type=Path, help="a file for the JSON object")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and print.

    Returns:
        0, or 1 where something could not be trained.
    """
    chosen = parse_arguments(arguments)
    table = Table(title="bits per byte", title_justify="left", title_style="bold")
    for heading in ("megabytes", "system", "bits/byte", "of each run"):
        table.add_column(heading, justify="left" if heading == "system" else "right", no_wrap=True)
    ratios: dict[str, float] = {}
    figures: dict[str, float] = {}
    try:
        for megabytes in chosen.megabytes:
            mark = f"{megabytes:g}mb"
            with TemporaryDirectory() as folder:
                found = measure(chosen, megabytes, Path(folder))
            means = {name: statistics.mean(values) for name, values in found.items()}
            for name, values in found.items():
                figures[f"{mark}.{name.replace(' ', '_')}"] = means[name]
                each = " ".join(f"{value:.4f}" for value in values)
                table.add_row(f"{megabytes:g}", name, f"{means[name]:.4f}", each)
            for arch in chosen.arch:
                for other, name in (("baseline", f"baseline {arch}"), ("nanogpt", "nanoGPT")):
                    if name in means:
                        ratios[f"{mark}.{arch}_over_{other}"] = means[arch] / means[name]
    except TinyLMError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print_results(table, ratios, figures, chosen.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
