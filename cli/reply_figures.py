"""Print the quality of replies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tinylm.printable import printable

if TYPE_CHECKING:
    from tinylm.reply_quality import ReplyQuality

_SHOWN_WORDS = 40


def print_replies(quality: ReplyQuality) -> None:
    """Print a line for each figure, beside what people and simple rankings reach."""
    click.echo(f"\n{quality.replies:,} replies in held-out conversations")
    if quality.hits_at_1 is None:
        _print_figure("found among ten (hits@1)", "", "there are fewer than ten different replies")
    else:
        error = "" if quality.standard_error is None else f" ± {quality.standard_error:.1%}"
        others = (f"{name.replace('_', ' ')} {share:.1%}" for name, share in quality.baselines.items())
        _print_figure("found among ten (hits@1)", f"{quality.hits_at_1:.1%}{error}", ", ".join(others))
    _print_figure(
        "repeated runs of four words", _share(quality.repetition), f"people {_share(quality.repetition_of_people)}"
    )
    if quality.copied is not None:
        model, people = quality.copied.of_model, quality.copied.of_people
        _print_figure("longest run copied in training", f"{len(model):,} words", f"people {len(people):,}")
        if model:
            shown = " ".join(model[:_SHOWN_WORDS]) + (" …" if len(model) > _SHOWN_WORDS else "")
            click.echo(f"  {printable(shown)}")


def _print_figure(name: str, value: str, beside: str) -> None:
    click.echo(f"{name:31}  {value:>15}   {beside}")


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.1%}"
