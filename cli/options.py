"""Options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.types import FuncParamType

from tinylm.errors import DataError
from tinylm.printable import printable

F = TypeVar("F", bound=Callable[..., Any])

FOLDER: Any = click.Path(path_type=Path)
FILE: Any = click.Path(path_type=Path)
# Text is UTF-8 also under `LANG=C`, where Python decodes arguments as ASCII
TEXT: Any = FuncParamType(printable)
TEXT.name = "text"


class NumberRange(click.FloatRange):
    """A finite number within bounds: click's own type takes nan, which is neither below nor above any bound."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See click."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
threads_option = click.option(
    "--threads", type=click.IntRange(min=0), default=0, show_default="the fastest, measured once", help="CPU threads."
)


def reading_options(function: F) -> F:
    """Add the options that say how data files are read; None for those that are not given."""
    for option in (
        click.option(
            "--documents",
            type=TEXT,
            metavar="blank-lines|file|LINE",
            help="What parts the documents of a text file: blank lines, nothing, or lines that are LINE.  "
            "[default: lines <|endoftext|>, else blank lines, but not between paragraphs of prose]",
        ),
        click.option(
            "--user",
            type=TEXT,
            metavar="NAME",
            help="With --assistant: whose messages are the user's.  [default: everyone else's]",
        ),
        click.option(
            "--assistant",
            type=TEXT,
            metavar="NAME",
            help="Whose messages are the assistant's, in chats of people by name, such as a messenger's export.",
        ),
    ):
        function = option(function)
    return function


def _logit_bias(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[int, float]:
    biases = {}
    for value in values:
        id_, _, bias = value.partition("=")
        try:
            biases[int(id_)] = float(bias)
        except ValueError:
            raise click.BadParameter(f"{value!r} is not ID=BIAS, as in 42=-100", context, option) from None
    return biases


def _json_schema(context: click.Context, option: click.Parameter, path: Path | None) -> dict[str, Any] | None:  # noqa: ARG001
    """Read a JSON schema.

    Raises:
        DataError: the file cannot be read, or holds no JSON object.
    """
    import json

    if path is None:
        return None
    try:
        schema = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(path, None, f"cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise DataError(path, getattr(error, "lineno", None), f"not JSON ({error})") from None
    if not isinstance(schema, dict):
        raise DataError(path, None, "a JSON schema is an object: {…}")
    return schema


_SAMPLING = (
    click.option("--temperature", type=float, help="0 always takes the most likely token; higher: livelier."),
    click.option("--top-k", type=int, help="Sample from the N most likely tokens; 0: from all."),
    click.option(
        "--top-p",
        type=float,
        help="Sample from the most likely tokens that reach this probability; 0: the first.",
    ),
    click.option(
        "--min-p",
        type=float,
        help="Sample from tokens at least this fraction as likely as the first.",
    ),
    click.option("--repetition-penalty", type=float, help="Above 1 makes recent tokens less likely.  [default: 1]"),
    click.option(
        "--presence-penalty",
        type=float,
        help="Above 0 makes tokens that the reply contains less likely.  [default: 0]",
    ),
    click.option(
        "--frequency-penalty",
        type=float,
        help="Above 0 makes tokens less likely the more often the reply contains them.  [default: 0]",
    ),
    click.option("--seed", type=int, help="Equal seeds give equal replies; -1: a random seed."),
    click.option("--max-new-tokens", type=int, help="Maximum length of a reply in tokens; -1: no limit."),
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
        "--json-schema",
        type=FILE,
        metavar="FILE",
        callback=_json_schema,
        help="Reply with JSON that is valid against the schema in FILE.",
    ),
    click.option("--regex", type=TEXT, metavar="PATTERN", help="Reply with a text that matches PATTERN."),
    click.option(
        "--logit-bias",
        multiple=True,
        metavar="ID=BIAS",
        callback=_logit_bias,
        help="Make a token more likely (up to 100) or less likely (down to -100). Repeatable.",
    ),
)


def sampling_options(function: F) -> F:
    """Add the options of `SamplingOptions` to a command; None for those that are not given."""
    for option in reversed(_SAMPLING):
        function = option(function)
    return function
