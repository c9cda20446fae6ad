"""Kinds of facts that users tell about themselves, read from topics/told_facts.txt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tinylm.data.world.phrasings import Core, expand
from tinylm.data.world.topic_files import TOPICS, read_blocks
from tinylm.data.world.values import VALUE_LISTS
from tinylm.errors import DataError

_FORMS = {"questions": "?", "indirect questions": "~"}
_SECTIONS = (
    "values", "called", "a right reply has", "told", "corrected", *_FORMS, "thanks", "replies", "system messages",
)  # fmt: skip
_CORRECTIONS = ("actually, ", "no, sorry, ", "wait, ", "i made a mistake, ", "sorry, i mean ")


@dataclass(frozen=True)
class FactKind:
    """A kind of fact about the user; "{v}" stands for its value.

    Attributes:
        name: of the kind.
        missing: the fact as a reply names it if it was never told: "You have not told me {your name} yet."
        key: word or phrase of `missing` that a right reply has.
        values: all of its values; kinds with the same list never have the same value in one chat.
        tells, corrections, asks: what users say to tell, to correct and to ask.
        acknowledgements, replies, unknown: replies to the fact, to a question, and to a question if never told.
        system: phrasings of the fact in a system message.
    """

    name: str
    missing: str
    key: str
    values: tuple[str, ...]
    tells: tuple[str, ...]
    corrections: tuple[str, ...]
    asks: tuple[Core, ...]
    acknowledgements: tuple[str, ...]
    replies: tuple[str, ...]
    unknown: tuple[str, ...]
    system: tuple[str, ...]


def _read_kinds() -> Iterator[FactKind]:
    for block in read_blocks(TOPICS / "told_facts.txt", _SECTIONS, required=_SECTIONS):
        block.check_fields(["v"])
        values, missing = block.only("values"), block.only("called")
        if values not in VALUE_LISTS:
            problem = f"values: {values!r} is no list of values.py; known are {', '.join(VALUE_LISTS)}"
            raise DataError(block.path, block.line, problem)
        corrected = block.only("corrected")
        yield FactKind(
            name=block.name,
            missing=missing,
            key=block.only("a right reply has"),
            values=VALUE_LISTS[values],
            tells=tuple(text for template in block.texts("told") for text in expand(template)),
            corrections=tuple(text for opening in _CORRECTIONS for text in expand(opening + corrected)),
            asks=tuple(
                Core(_FORMS[section], text) for section, entry in block.entries(*_FORMS) for text in expand(entry.text)
            ),
            acknowledgements=block.texts("thanks"),
            replies=block.texts("replies"),
            unknown=(f"You have not told me {missing} yet.", f"I do not know {missing} yet. Please tell me!"),
            system=block.texts("system messages"),
        )


KINDS = tuple(_read_kinds())
