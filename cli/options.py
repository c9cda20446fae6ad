"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

FOLDER: Any = click.Path(path_type=Path)
FILE: Any = click.Path(path_type=Path)

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
threads_option = click.option(
    "--threads", type=click.IntRange(min=0), default=0, show_default="the fastest, measured once", help="CPU threads."
)


def sampling_options(function: F) -> F:
    """The options of `SamplingOptions`; None where the user does not say."""
    for option in reversed(
        (
            click.option("--temperature", type=float, help="0 always takes the likeliest token; higher is livelier."),
            click.option("--top-k", type=int, help="Sample among the N likeliest tokens; 0: among all."),
            click.option("--top-p", type=float, help="Sample among the likeliest tokens that reach this probability."),
            click.option("--seed", type=int, help="Equal seeds give equal replies."),
            click.option("--max-new-tokens", type=int, help="Length of a reply in tokens, at most."),
        )
    ):
        function = option(function)
    return function
