"""How good are the replies of a model after some minutes of stories and chats? See README.md.

`tinylm train --minutes` learns stories and nine tenths of the conversations, with no other option; `tinylm eval`
measures the run, and its int8 bundle, on the rest. Prints a table, and one JSON object as the last line.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from commands import TINYLM, run_command
from report import print_results
from rich.table import Table

from tinylm.data.dataset.held_out import content_hash
from tinylm.data.readers.front_door import iter_conversations
from tinylm.errors import TinyLMError
from tinylm.printable import json_text

STORIES, CHATS = "stories.train.txt", "chat_synthetic_persona.jsonl"
FIGURES = ("bits_per_byte", "hits_at_1_of_10", "repetition", "longest_copied_run")
HEADINGS = ("model", "bits/byte", "hits@1 of 10", "repetition", "copied words")
_HELD_OUT_OF = 10


def split(chats: Path, folder: Path) -> tuple[Path, Path]:
    """Part conversations by a hash of their text, so that equal ones are on one side.

    Returns:
        the files to train on and to be measured on, in the folder.

    Raises:
        DataError: the file cannot be read.
    """
    training, held_out = folder / "training.jsonl", folder / "held-out.jsonl"
    with training.open("w", encoding="utf-8") as kept, held_out.open("w", encoding="utf-8") as rest:
        for conversation in iter_conversations(chats):
            file = rest if content_hash(conversation)[0] % _HELD_OUT_OF == 0 else kept
            file.write(json_text({"messages": conversation}) + "\n")
    return training, held_out


def measure(chosen: argparse.Namespace, arch: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Train a model.

    Yields:
        "run" and "int8" with what `tinylm eval --json` prints of them.

    Raises:
        TinyLMError: a command fails.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        run, bundle, stories = folder / "run", folder / "bundle", chosen.data / STORIES
        training, held_out = split(chosen.data / CHATS, folder)
        # It begins with nothing tokenized, as its user would
        environment = {**os.environ, "TINYLM_DATA_CACHE": str(folder / "cache")}
        train = ["train", "--pretrain", str(stories), "--finetune", str(training), "--minutes", f"{chosen.minutes:g}"]
        run_command([TINYLM, *train, "--out", str(run), "--set", f"model.arch={arch}"], environment)
        run_command([TINYLM, "export", str(run), "--quantize", "--out", str(bundle)], environment)
        for kind, model in (("run", run), ("int8", bundle)):
            yield kind, evaluate(model, held_out, chosen.replies, [stories, training], environment)


def evaluate(
    model: Path, held_out: Path, replies: int, training: Sequence[Path], environment: Mapping[str, str]
) -> dict[str, Any]:
    """What `tinylm eval --json` prints of a run or a bundle.

    Args:
        model: the run or the bundle.
        held_out: conversations.
        replies: in them that are measured.
        training: what the model was trained on.
        environment: variables of the command.

    Raises:
        TinyLMError: it fails.
    """
    command = ["eval", str(model), "--data", str(held_out), "--replies", str(replies), "--json"]
    command += [part for path in training for part in ("--train-data", str(path))]
    found: dict[str, Any] = json.loads(run_command([TINYLM, *command], environment))
    return found


def quality_cells(found: Mapping[str, Any]) -> tuple[str, ...]:
    """Cells of a table with what `evaluate` found: bits per byte, hits, repetition and copied words."""
    hits = f"{found['hits_at_1_of_10']:.1%} ± {found['hits_at_1_of_10_standard_error']:.1%}"
    return f"{found['bits_per_byte']:.4f}", hits, *_cells(found, "")


def quality_table(minutes: float) -> Table:
    """An empty table for rows of a name and `quality_cells`."""
    table = Table(title=f"replies after {minutes:g} minutes", title_justify="left", title_style="bold")
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading == "model" else "right", no_wrap=True)
    return table


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help=f"a folder with {STORIES} and {CHATS}")
    parser.add_argument("--minutes", type=float, default=20, help="of each training (default: 20)")
    parser.add_argument("--arch", nargs="+", choices=["classic", "modern"], default=["classic", "modern"])
    parser.add_argument("--replies", type=int, default=1000, help="that are measured (default: 1000)")
    parser.add_argument("--out", type=Path, help="a file for the JSON object")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, measure and print.

    Returns:
        0, or 1 where a command failed.
    """
    chosen = parse_arguments(arguments)
    table = quality_table(chosen.minutes)
    figures: dict[str, float] = {}
    try:
        for arch in chosen.arch:
            for kind, found in measure(chosen, arch):
                table.add_row(f"{arch}, {kind}", *quality_cells(found))
                figures |= {f"{arch}.{kind}.{name}": found[name] for name in FIGURES}
    except TinyLMError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    for name, share in found["hits_at_1_of_10_baselines"].items():
        table.add_row(name.replace("_", " "), "", f"{share:.1%}", "", "")
        figures[f"baseline.{name}"] = share
    table.add_row("people", "", "", *_cells(found, "_baseline"))
    figures["hits_at_1_of_10_baseline"] = found["hits_at_1_of_10_baseline"]
    print_results(table, {}, figures, chosen.out)
    return 0


def _cells(found: Mapping[str, Any], suffix: str) -> tuple[str, str]:
    """Repetition and longest copied run, of the model or with a suffix of people; empty where replies are too short."""
    repetition, copied = found[f"repetition{suffix}"], found[f"longest_copied_run{suffix}"]
    return "" if repetition is None else f"{repetition:.1%}", "" if copied is None else f"{copied:,}"


if __name__ == "__main__":
    sys.exit(main())
