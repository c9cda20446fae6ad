"""What `tinylm train --minutes` chooses, beside models of other sizes; see README.md.

Every model is trained by the command itself, in the same wall clock, and scored by `tinylm eval --full`. Prints a
table, and one JSON object as the last line.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from commands import TINYLM
from report import print_results
from rich.table import Table

from tinylm.config import load_config
from tinylm.errors import TinyLMError

# Width, layers and heads
GRID = ((64, 2, 2), (96, 3, 2), (128, 4, 2), (192, 4, 3), (256, 6, 4))
_VOCABULARY, _BATCH = 4096, 8


def overrides_of(width: int, layers: int, heads: int) -> list[str]:
    """The hyperparameters of a model of the grid."""
    values = {
        "model.d_model": width,
        "model.num_layers": layers,
        "model.nhead": heads,
        "model.dim_feedforward": 4 * width,
        "model.vocab_size": _VOCABULARY,
        "train.batch_size": _BATCH,
    }
    return [f"{name}={value}" for name, value in values.items()]


def train_and_score(
    data: Sequence[Path], validation: Path, minutes: float, overrides: Sequence[str], stage: str, threads: int
) -> tuple[float, dict[str, Any]]:
    """Bits per byte of a model of its own, and its shape.

    Raises:
        TinyLMError: it could not be trained.
    """
    with TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [TINYLM, "train", "--minutes", f"{minutes:g}", "--out", str(run)]
        command += [part for path in data for part in (stage, str(path))]
        overrides = [*overrides, *([f"train.threads={threads}"] if threads else [])]
        command += [part for override in overrides for part in ("--set", override)]
        # Each begins with nothing tokenized, as its user would
        environment = {**os.environ, "TINYLM_DATA_CACHE": str(Path(folder) / "cache")}
        trained = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if trained.returncode:
            raise TinyLMError(f"tinylm train: {(trained.stderr.splitlines() or ['no word'])[-1]}")
        scored = subprocess.run(
            [TINYLM, "eval", str(run), "--data", str(validation), "--full", "--json"],
            capture_output=True,
            text=True,
            check=True,
        )
        config = load_config(run / "config.toml")
        shape = {name: getattr(config.model, name) for name in ("d_model", "num_layers", "nhead", "vocab_size")} | {
            "batch_size": config.train.batch_size
        }
        return float(json.loads(scored.stdout)["bits_per_byte"]), shape


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="to train on: raw text")
    parser.add_argument("--finetune", action="store_true", help="the data are conversations")
    parser.add_argument("--validation", type=Path, required=True, help="to be scored on")
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 3, 8], help="budgets (default: 1 3 8)")
    parser.add_argument("--arch", nargs="+", choices=["classic", "modern"], default=["classic"])
    parser.add_argument("--threads", type=int, default=0, help="of PyTorch (default: as tinylm train has it)")
    parser.add_argument("--without-grid", action="store_true", help="train only what the dial chooses")
    parser.add_argument("--out", type=Path, help="a file for the JSON object")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and print.

    Returns:
        0, or 1 where something could not be trained.
    """
    chosen = parse_arguments(arguments)
    table = Table(title="bits per byte", title_justify="left", title_style="bold")
    for heading in ("architecture", "minutes", "model", "bits/byte"):
        table.add_column(heading, justify="left" if heading in ("architecture", "model") else "right", no_wrap=True)
    ratios: dict[str, float] = {}
    figures: dict[str, float] = {}
    stage = "--finetune" if chosen.finetune else "--pretrain"
    grid = () if chosen.without_grid else GRID
    try:
        for arch in chosen.arch:
            for minutes in chosen.minutes:
                mark = f"{arch}.{minutes:g}m"
                measured: dict[str, float] = {}
                for name, overrides in [("dial", []), *((f"{w}x{n}", overrides_of(w, n, h)) for w, n, h in grid)]:
                    print(f"{mark} {name}", file=sys.stderr)
                    wanted = [f"model.arch={arch}", *overrides]
                    measured[name], shape = train_and_score(
                        chosen.data, chosen.validation, minutes, wanted, stage, chosen.threads
                    )
                    print(f"  {measured[name]:.4f} bits per byte: {shape}", file=sys.stderr)
                    words = f"{name}: " + " ".join(f"{key}={value}" for key, value in shape.items())
                    table.add_row(arch, f"{minutes:g}", words, f"{measured[name]:.4f}")
                    figures[f"{mark}.{name}"] = measured[name]
                if grid:
                    best = min(value for name, value in measured.items() if name != "dial")
                    ratios[f"{mark}.dial_over_best"] = measured["dial"] / best
    except TinyLMError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print_results(table, ratios, figures, chosen.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
