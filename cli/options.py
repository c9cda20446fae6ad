"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.types import FuncParamType

from tinylm.printable import printable

F = TypeVar("F", bound=Callable[..., Any])

FOLDER: Any = click.Path(path_type=Path)
FILE: Any = click.Path(path_type=Path)
# Text is UTF-8 also under `LANG=C`, where Python decodes arguments as ASCII
TEXT: Any = FuncParamType(printable)
TEXT.name = "text"

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
threads_option = click.option(
    "--threads", type=click.IntRange(min=0), default=0, show_default="the fastest, measured once", help="CPU threads."
)


def _logit_bias(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[int, float]:
    biases = {}
    for value in values:
        id_, _, bias = value.partition("=")
        try:
            biases[int(id_)] = float(bias)
        except ValueError:
            raise click.BadParameter(f"{value!r} is not ID=BIAS, as in 42=-100", context, option) from None
    return biases


def sampling_options(function: F) -> F:
    """The options of `SamplingOptions`; None where the user does not say."""
    for option in reversed(
        (
            click.option("--temperature", type=float, help="0 always takes the likeliest token; higher is livelier."),
            click.option("--top-k", type=int, help="Sample among the N likeliest tokens; 0: among all."),
            click.option("--top-p", type=float, help="Sample among the likeliest tokens that reach this probability."),
            click.option(
                "--min-p", type=float, help="Sample among tokens at least this share as likely as the likeliest."
            ),
            click.option(
                "--repetition-penalty", type=float, help="Above 1 makes what was said lately less likely.  [default: 1]"
            ),
            click.option("--seed", type=int, help="Equal seeds give equal replies."),
            click.option("--max-new-tokens", type=int, help="Length of a reply in tokens, at most."),
            click.option(
                "--stop",
                type=TEXT,
                multiple=True,
                metavar="TEXT",
                help="End the reply before this text. Repeatable.",
            ),
            click.option(
                "--choice",
                "choices",
                type=TEXT,
                multiple=True,
                help="Reply with one of the choices. Repeatable.",
            ),
            click.option(
                "--logit-bias",
                multiple=True,
                metavar="ID=BIAS",
                callback=_logit_bias,
                help="Make a token likelier (up to 100) or less likely (down to -100). Repeatable.",
            ),
        )
    ):
        function = option(function)
    return function
