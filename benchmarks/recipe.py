"""Variants of model and recipe on the same tokens for equally many steps: `python benchmarks/recipe.py --data FILE …`.

A variant is a name and hyperparameters, as in `--variant fast train.learning_rate=9e-3`; they come on top of the shape
of training.py. Prints a line for each, and one JSON object as the last line.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from report import rounded
from token_stream import TokenStream
from training import VOCABULARY, train
from workers import Worker

from tinylm.errors import TinyLMError
from tinylm.processors import usable_threads

_VALIDATIONS = 4


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a file of raw text")
    parser.add_argument("--steps", type=int, default=256, help="of each variant (default: 256)")
    parser.add_argument("--vocabulary", type=int, default=VOCABULARY, help=f"pieces (default: {VOCABULARY})")
    parser.add_argument("--threads", type=int, default=usable_threads(), help="of PyTorch (default: usable cores)")
    parser.add_argument(
        "--variant",
        nargs="+",
        action="append",
        required=True,
        metavar=("NAME", "SECTION.KEY=VALUE"),
        help="to be trained; repeatable",
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and print.

    Returns:
        0, or 1 where a variant could not be trained.
    """
    chosen = parse_arguments(arguments)
    figures: dict[str, float] = {}
    try:
        stream = TokenStream.of(chosen.data, chosen.vocabulary, chosen.threads)
        for name, *overrides in chosen.variant:
            with Worker() as worker:
                curve = worker.call(train, stream, overrides, chosen.steps, _VALIDATIONS, chosen.threads)
            bits, speed = curve.bits_per_byte[-1], curve.tokens / curve.total_seconds
            print(f"{name:24} loss {curve.losses[-1]:.4f}  bits/byte {bits:.4f}  {speed:>8,.0f} tokens/s", flush=True)
            figures |= {
                f"{name}.loss": curve.losses[-1],
                f"{name}.bits_per_byte": bits,
                f"{name}.tokens_per_second": speed,
            }
    except TinyLMError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(json.dumps({"ratios": {}, "figures": rounded(figures)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
