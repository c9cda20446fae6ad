"""Kinds of facts that users tell about themselves, read from topics/told_facts.txt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from tinylm.data.world.intents import all_intents
from tinylm.data.world.open_values import VALUE_KINDS
from tinylm.data.world.phrasings import Core, expand
from tinylm.data.world.topic_files import TOPICS, TopicBlock, read_blocks
from tinylm.errors import DataError

_FORMS = {"questions": "?", "indirect questions": "~", "remarks": "."}
_REQUIRED = (
    "values", "called", "told", "corrected", "questions", "indirect questions", "thanks", "replies", "system messages",
)  # fmt: skip
_CORRECTIONS = (
    "actually, ", "no, sorry, ", "wait, ", "i made a mistake, ", "sorry, i mean ", "no, ", "oops, ", "that was wrong, ",
    "no wait, ", "i lied, ", "correction: ", "not that, ", "my mistake, ", "sorry, ", "let me correct that, ",
    "i meant ",
)  # fmt: skip


@dataclass(frozen=True)
class FactKind:
    """A kind of fact about the user; "{v}" stands for its value.

    Attributes:
        name: "family", or "family.thing" in a family that is told of several things.
        missing: the fact as a reply names it if it was never told: "You have not told me {your name} yet."
        values: where its values come from, one of `VALUE_KINDS`.
        tells, corrections, asks: what users say to tell, to correct and to ask.
        shortened: what they say to tell it right after another fact of the family: "my dog is Rex and the cat Tom".
        acknowledgements, replies, unknown: replies to the fact, to a question, and to a question if never told.
        system: phrasings of the fact in a system message.
    """

    name: str
    missing: str
    values: str
    tells: tuple[str, ...]
    shortened: tuple[str, ...]
    corrections: tuple[str, ...]
    asks: tuple[Core, ...]
    acknowledgements: tuple[str, ...]
    replies: tuple[str, ...]
    unknown: tuple[str, ...]
    system: tuple[str, ...]

    @property
    def family(self) -> str:
        """The block of told_facts.txt that it comes from."""
        return self.name.split(".")[0]


@cache
def _questions_of_the_world() -> frozenset[str]:
    """What users ask Pip about its world, such as the name of the cat: they never ask for a told fact like this."""
    intents = (intent for intent in all_intents().values() if intent.topic != "unknown")
    return frozenset(core.text for intent in intents for core in intent.cores)


def _kind(block: TopicBlock, values: str, thing: str) -> FactKind:
    """The kind of fact that a block tells of a thing; of the user alone where the thing is ""."""

    def texts(section: str) -> tuple[str, ...]:
        return tuple(text.replace("{k}", thing) for template in block.texts(section) for text in expand(template))

    missing = block.only("called").replace("{k}", thing)
    return FactKind(
        name=f"{block.name}.{thing}" if thing else block.name,
        missing=missing,
        values=values,
        tells=texts("told"),
        shortened=texts("shortened"),
        corrections=tuple(opening + text for opening in _CORRECTIONS for text in texts("corrected")),
        asks=tuple(
            Core(form, text)
            for section, form in _FORMS.items()
            for text in texts(section)
            if text not in _questions_of_the_world()
        ),
        acknowledgements=texts("thanks"),
        replies=texts("replies"),
        unknown=(f"You have not told me {missing} yet.", f"I do not know {missing} yet. Please tell me!"),
        system=texts("system messages"),
    )


def _read_kinds() -> Iterator[FactKind]:
    for block in read_blocks(
        TOPICS / "told_facts.txt", (*_REQUIRED, "remarks", "each", "shortened"), required=_REQUIRED
    ):
        block.check_fields(["v", "k"] if block.texts("each") else ["v"])
        values = block.only("values")
        if values not in VALUE_KINDS:
            raise DataError(
                block.path, block.line, f"values: {values!r} is not known; known are {', '.join(VALUE_KINDS)}"
            )
        things = [thing.strip() for text in block.texts("each") for thing in text.split(",")] or [""]
        for thing in things:
            yield _kind(block, values, thing)


KINDS = tuple(_read_kinds())
KIND_BY_NAME = {kind.name: kind for kind in KINDS}


@cache
def families() -> dict[str, list[FactKind]]:
    """The kinds by family."""
    by_family: dict[str, list[FactKind]] = {}
    for kind in KINDS:
        by_family.setdefault(kind.family, []).append(kind)
    return by_family
