"""The items of the test: conversations from test_items/, whose phrasings and values are written apart from training."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

from tinylm.data.world.held_out import test_blocks, values_of
from tinylm.data.world.judge import WorldItem
from tinylm.data.world.topic_files import TopicBlock

_TURNS = " / "
_ALTERNATIVES = " / "


def test_items() -> list[WorldItem]:
    """Every item of the test, in the order of its files."""
    return [item for file, block in test_blocks() for item in _items_of(file, block)]


def _items_of(file: str, block: TopicBlock) -> Iterator[WorldItem]:
    unseen, listed = values_of(block, "unseen"), values_of(block, "listed")
    if not unseen:
        for conversation in block.texts("you"):
            yield _item(file, block, conversation, {})
        return
    next_unseen, next_listed = cycle(unseen), cycle(listed)
    for conversation in block.texts("you"):
        for _ in range(2):
            yield _item("told_unseen", block, conversation, _fields(next(next_unseen), unseen))
        if listed:
            yield _item("told_listed", block, conversation, _fields(next(next_listed), listed))


def _fields(value: str, values: list[str]) -> dict[str, str]:
    """What the fields of a conversation stand for; the other value is the next one of the list."""
    other = values[(values.index(value) + 1) % len(values)]
    return {"{v}": value, "{low}": value.lower(), "{V}": value.upper(), "{w}": other}


def _item(category: str, block: TopicBlock, conversation: str, fields: dict[str, str]) -> WorldItem:
    def filled(text: str) -> str:
        for name, value in fields.items():
            text = text.replace(name, value)
        return text

    wrong = [filled(text) for text in block.texts("wrong") if "{w}" not in text or "{w}" in conversation]
    return WorldItem(
        category=category,
        name=block.name,
        turns=tuple(turn.strip() for turn in filled(conversation).split(_TURNS)),
        system=filled(" ".join(block.texts("system"))),
        required=tuple(tuple(filled(text).split(_ALTERNATIVES)) for text in block.texts("right")),
        forbidden=tuple(wrong),
    )
