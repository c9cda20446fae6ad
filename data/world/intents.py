"""What people ask Pip and what is right to answer: the intents, read from the texts of the topic files.

A topic file holds blocks like this one::

    # colour garden          the family's name and its topic
    ? what colour is {s}     a core phrasing; its form is "?", "~", "." or ">" (see `phrasings`)
    = {S} is {c}.            a reply
    ! {c}                    words that a right reply has: groups by blanks, "a/b" either, "_" for a blank
    d In this house, {s} is {c}.      a sentence for the documents
    why Because {because}.   the reply to "why?"
    whykey {k}               the words that it has
    - rover: s=the rover; c=blue     one slot of the family, with the fields of its sentences

A block without "-" lines is one intent. "nopip" after the topic: users never say "Pip" when they ask this.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from tinylm.data.world import (
    topic_animals,
    topic_counting,
    topic_garden,
    topic_kitchen,
    topic_pip,
    topic_seasons,
    topic_talk,
    topic_weather,
    topic_workshop,
)
from tinylm.data.world.phrasings import Core, expand, hold_out

Groups = tuple[tuple[str, ...], ...]

_FIELD = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Intent:
    """One question type with its answer.

    Attributes:
        name: "family" or "family.slot".
        family: the question types that differ only in a slot.
        topic: what it is about, one of the `topic_` files.
        cores: what users ask, as complete questions.
        follows: what users ask right after another question of the same family.
        replies: right answers. "{me}" in them is the assistant's name.
        required: a right reply has a word of each of these groups.
        forbidden: a right reply has none of these words.
        vocative: whether users may say "Pip" when they ask this.
        parent: for a "why?" the name of the intent that it follows, else "".
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


@dataclass
class _Block:
    family: str
    topic: str
    vocative: bool
    cores: list[Core] = field(default_factory=list)
    replies: list[str] = field(default_factory=list)
    keys: str = ""
    declarations: list[str] = field(default_factory=list)
    why: list[str] = field(default_factory=list)
    why_keys: str = ""
    rows: dict[str, dict[str, str]] = field(default_factory=dict)


WHY_CORES = hold_out(
    Core(">", text)
    for template in (
        "why", "why is that", "but why", "how come", "why so", "and why is that", "and why", "can you say why",
        "can you tell me why", "do you know why", "what is the reason", "what is the reason for that",
    )
    for text in expand(template)
)  # fmt: skip


def _read_blocks(text: str) -> Iterator[_Block]:
    block: _Block | None = None
    for line in filter(None, map(str.strip, text.splitlines())):
        mark, _, rest = line.partition(" ")
        if mark == "#":
            if block is not None:
                yield block
            family, topic, *flags = rest.split()
            block = _Block(family, topic, "nopip" not in flags)
            continue
        assert block is not None, line
        if mark in "?~.>":
            block.cores += [Core(mark, core) for core in expand(rest)]
        elif mark == "=":
            block.replies.append(rest)
        elif mark == "!":
            block.keys = rest
        elif mark == "d":
            block.declarations.append(rest)
        elif mark == "why":
            block.why.append(rest)
        elif mark == "whykey":
            block.why_keys = rest
        elif mark == "-":
            slot, _, fields = rest.partition(": ")
            row = dict(pair.strip().split("=", 1) for pair in fields.split(";"))
            block.rows[slot] = row | {upper_first(name): upper_first(value) for name, value in row.items()}
        else:
            raise AssertionError(line)
    if block is not None:
        yield block


def upper_first(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def _fill(text: str, row: dict[str, str]) -> str:
    return _FIELD.sub(lambda match: row.get(match[1], match[0]), text)


def parse_keys(keys: str) -> Groups:
    """The groups of required words that a "!" line stands for."""
    return tuple(tuple(word.replace("_", " ") for word in group.split("/")) for group in keys.split())


def _contains(text: str, word: str) -> bool:
    return re.search(rf"\b{re.escape(word)}\b", text.lower()) is not None


def _intents_of(block: _Block) -> Iterator[Intent]:
    rows = block.rows or {"": {}}
    keys = {slot: parse_keys(_fill(block.keys, row)) for slot, row in rows.items()}
    for slot, row in rows.items():
        name = f"{block.family}.{slot}" if slot else block.family
        cores = hold_out(Core(core.form, _fill(core.text, row).lower()) for core in block.cores)
        replies = tuple(upper_first(_fill(reply, row)) for reply in block.replies)
        others = {word for other in keys for group in keys[other] for word in group}
        own = " ".join(replies) + " " + " ".join(word for group in keys[slot] for word in group)
        yield Intent(
            name=name,
            family=block.family,
            topic=block.topic,
            cores=tuple(core for core in cores if core.form != ">"),
            follows=tuple(core for core in cores if core.form == ">"),
            replies=replies,
            required=keys[slot],
            forbidden=tuple(sorted(word for word in others if word[0] != "{" and not _contains(own, word))),
            vocative=block.vocative,
        )
        if block.why:
            yield Intent(
                name=f"why.{name}",
                family="why",
                topic=block.topic,
                cores=(),
                follows=WHY_CORES,
                replies=tuple(upper_first(_fill(reply, row)) for reply in block.why),
                required=parse_keys(_fill(block.why_keys, row)),
                forbidden=(),
                parent=name,
            )


@cache
def _blocks() -> tuple[_Block, ...]:
    texts = (
        topic_pip.TEXT, topic_talk.TEXT, topic_weather.TEXT, topic_garden.TEXT, topic_animals.TEXT,
        topic_seasons.TEXT, topic_kitchen.TEXT, topic_workshop.TEXT, topic_counting.TEXT, topic_counting.numbers(),
    )  # fmt: skip
    return tuple(block for text in texts for block in _read_blocks(text))


@cache
def all_intents() -> dict[str, Intent]:
    """Every intent by its name."""
    intents = [intent for block in _blocks() for intent in _intents_of(block)]
    by_name = {intent.name: intent for intent in intents}
    assert len(by_name) == len(intents), "two intents have one name"
    return by_name


@cache
def intents_by_family() -> dict[str, tuple[Intent, ...]]:
    """The intents that can be asked out of the blue (no "why?"), by family."""
    families: dict[str, list[Intent]] = {}
    for intent in all_intents().values():
        if not intent.parent:
            families.setdefault(intent.family, []).append(intent)
    return {family: tuple(intents) for family, intents in families.items()}


@cache
def declarations() -> dict[str, tuple[str, ...]]:
    """Sentences that tell the facts of the world, by topic, for the documents."""
    by_topic: dict[str, list[str]] = {}
    for block in _blocks():
        for row in block.rows.values() or [{}]:
            sentences = [upper_first(_fill(sentence, row)) for sentence in block.declarations]
            by_topic.setdefault(block.topic, []).extend(sentences)
    return {topic: tuple(sentences) for topic, sentences in by_topic.items() if sentences}
