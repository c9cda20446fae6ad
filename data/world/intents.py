"""Intents: what users ask Pip, and what a right reply says. They are read from the topic files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from tinylm.data.world.phrasings import Core, expand, hold_out
from tinylm.data.world.topic_files import TOPICS, TopicBlock, read_blocks

TOPIC_NAMES = ("pip", "talk", "weather", "garden", "animals", "seasons", "kitchen", "workshop", "counting")
"""Names of the topic files, in a fixed order: what a seed generates depends on it."""

Groups = tuple[tuple[str, ...], ...]

_FIELD = re.compile(r"\{(\w+)\}")
_FORMS = {"questions": "?", "indirect questions": "~", "remarks": ".", "follow-ups": ">"}
_RIGHT_REPLY, _RIGHT_REASON = "a right reply has", "a right reason has"
_SECTIONS = ("options", *_FORMS, "replies", _RIGHT_REPLY, "facts", "why", _RIGHT_REASON, "cases")
_NEVER_SAYS_PIP = "never says Pip"


@dataclass(frozen=True)
class Intent:
    """One question with its answer.

    Attributes:
        name: "family" or "family.case".
        family: name of the block in the topic file; intents of a family differ in a few words.
        topic: one of `TOPIC_NAMES`.
        cores: phrasings of complete questions.
        follows: phrasings of a question right after another one of the same family.
        replies: right replies. "{me}" in them is the assistant's name.
        required: a right reply has a word or phrase of each of these groups.
        forbidden: a right reply has none of these words.
        vocative: whether users may call the assistant "Pip" when they ask this.
        parent: for a "why?", the name of the intent that it follows, else "".
    """

    name: str
    family: str
    topic: str
    cores: tuple[Core, ...]
    follows: tuple[Core, ...]
    replies: tuple[str, ...]
    required: Groups
    forbidden: tuple[str, ...]
    vocative: bool = True
    parent: str = ""


WHY_CORES = hold_out(
    Core(">", text)
    for template in (
        "why", "why is that", "but why", "how come", "why so", "and why is that", "and why", "can you say why",
        "can you tell me why", "do you know why", "what is the reason", "what is the reason for that",
    )
    for text in expand(template)
)  # fmt: skip


def upper_first(text: str) -> str:
    """Capitalize the first letter of a text."""
    return text[:1].upper() + text[1:]


def _fill(text: str, row: dict[str, str]) -> str:
    return _FIELD.sub(lambda match: row.get(match[1], match[0]), text)


def _groups(block: TopicBlock, section: str, row: dict[str, str]) -> Groups:
    """The groups of required words of a case, one a line, with alternatives separated by slashes."""
    filled = (_fill(text, row) for text in block.texts(section))
    return tuple(tuple(word.strip() for word in text.split("/")) for text in filled)


def _contains(text: str, word: str) -> bool:
    return re.search(rf"\b{re.escape(word)}\b", text.lower()) is not None


def _rows_of(block: TopicBlock) -> dict[str, dict[str, str]]:
    """The fields of each case of a block; a block without cases has one, without a name and fields."""
    cases = block.table("cases")
    block.check_fields(["me", "user", *next(iter(cases.values()), {})])
    with_capitals = {
        case: row | {upper_first(name): upper_first(value) for name, value in row.items()}
        for case, row in cases.items()
    }
    return with_capitals or {"": {}}


def _intents_of(topic: str, block: TopicBlock) -> Iterator[Intent]:
    rows = _rows_of(block)
    templates = [
        Core(_FORMS[section], text) for section, entry in block.entries(*_FORMS) for text in expand(entry.text)
    ]
    keys = {case: _groups(block, _RIGHT_REPLY, row) for case, row in rows.items()}
    for case, row in rows.items():
        name = f"{block.name}.{case}" if case else block.name
        cores = hold_out(Core(core.form, _fill(core.text, row).lower()) for core in templates)
        replies = tuple(upper_first(_fill(reply, row)) for reply in block.texts("replies"))
        others = {word for other in keys for group in keys[other] for word in group}
        own = " ".join(replies) + " " + " ".join(word for group in keys[case] for word in group)
        yield Intent(
            name=name,
            family=block.name,
            topic=topic,
            cores=tuple(core for core in cores if core.form != ">"),
            follows=tuple(core for core in cores if core.form == ">"),
            replies=replies,
            required=keys[case],
            forbidden=tuple(sorted(word for word in others if word[0] != "{" and not _contains(own, word))),
            vocative=_NEVER_SAYS_PIP not in block.texts("options"),
        )
        if block.texts("why"):
            yield Intent(
                name=f"why.{name}",
                family="why",
                topic=topic,
                cores=(),
                follows=WHY_CORES,
                replies=tuple(upper_first(_fill(reply, row)) for reply in block.texts("why")),
                required=_groups(block, _RIGHT_REASON, row),
                forbidden=(),
                parent=name,
            )


@cache
def _blocks() -> tuple[tuple[str, TopicBlock], ...]:
    """Every block of every topic file, with its topic."""
    return tuple(
        (topic, block)
        for topic in TOPIC_NAMES
        for block in read_blocks(TOPICS / f"{topic}.txt", _SECTIONS, required=("replies", _RIGHT_REPLY))
    )


@cache
def all_intents() -> dict[str, Intent]:
    """Every intent, by name."""
    intents = [intent for topic, block in _blocks() for intent in _intents_of(topic, block)]
    by_name = {intent.name: intent for intent in intents}
    assert len(by_name) == len(intents), "two intents have one name"
    return by_name


@cache
def intents_by_family() -> dict[str, tuple[Intent, ...]]:
    """The intents of each family without the "why?" questions, which need a question before them."""
    families: dict[str, list[Intent]] = {}
    for intent in all_intents().values():
        if not intent.parent:
            families.setdefault(intent.family, []).append(intent)
    return {family: tuple(intents) for family, intents in families.items()}


@cache
def declarations() -> dict[str, tuple[str, ...]]:
    """Sentences with the facts of each topic, for the documents."""
    by_topic: dict[str, list[str]] = {}
    for topic, block in _blocks():
        for row in _rows_of(block).values():
            sentences = [upper_first(_fill(sentence, row)) for sentence in block.texts("facts")]
            by_topic.setdefault(topic, []).extend(sentences)
    return {topic: tuple(sentences) for topic, sentences in by_topic.items() if sentences}
