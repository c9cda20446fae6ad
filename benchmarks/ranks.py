"""Two processes beside one on the same batches: `python benchmarks/ranks.py`; see README.md.

Prints a table, and one JSON object as the last line.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from commands import TINYLM
from report import rounded
from rich.console import Console
from rich.table import Table

from tinylm.errors import TinyLMError

SETTINGS = {
    "model.vocab_size": 1024,
    "model.d_model": 96,
    "model.nhead": 2,
    "model.num_layers": 3,
    "model.dim_feedforward": 384,
    "model.context_length": 128,
    "model.dropout": 0,
    "train.batch_size": 16,
    "train.precision": "fp32",
}


def losses(folder: Path, name: str, steps: int, processes: int, sharded: bool) -> list[float]:
    """The loss of every step of a training.

    Args:
        folder: with the world in it; the run is made there.
        name: of the run.
        steps: to be taken, both stages together.
        processes: that train together.
        sharded: whether each keeps a part of the weights.

    Raises:
        TinyLMError: it failed.
    """
    command = [TINYLM]
    if processes > 1:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        command += ["-m", "tinylm"]
    command += ["train", "--pretrain", str(folder / "world.txt"), "--finetune", str(folder / "chats.jsonl")]
    command += ["--steps", str(steps), "--out", str(folder / name)]
    for key, value in {**SETTINGS, "train.sharded": str(sharded).lower()}.items():
        command += ["--set", f"{key}={value}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise TinyLMError(f"{name}: {result.stderr.strip()[-500:]}")
    lines = [json.loads(line) for line in (folder / name / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100, help="of each training, both stages (default: 100)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and print.

    Returns:
        0, or 1 where a training failed.
    """
    chosen = parse_arguments(arguments)
    figures: dict[str, float] = {}
    try:
        with TemporaryDirectory() as place:
            folder = Path(place)
            subprocess.run([TINYLM, "data", "world", place], check=True, capture_output=True)
            alone = losses(folder, "one", chosen.steps, 1, False)
            for name, sharded in (("ddp", False), ("fsdp", True)):
                together = losses(folder, name, chosen.steps, 2, sharded)
                differences = [abs(a - b) for a, b in zip(alone, together, strict=True)]
                figures[f"max_loss_difference_{name}"] = max(differences)
            figures |= {"steps": float(len(alone)), "first_loss": alone[0], "last_loss": alone[-1]}
    except TinyLMError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    table = Table(title="two processes beside one", title_justify="left", title_style="bold")
    table.add_column("figure")
    table.add_column("measured", justify="right")
    for name, value in figures.items():
        table.add_row(name, f"{value:.4g}")
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    print(json.dumps({"ratios": {}, "figures": rounded(figures)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
