"""The blocks of the test's text files, and the values in them that training data must not have."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from tinylm.data.world.topic_files import TopicBlock, read_blocks

TEST_ITEMS = Path(__file__).parent / "test_items"
TEST_FILES = ("itself", "talk", "known", "told", "not_known")
_SECTIONS = ("system", "you", "unseen", "listed", "right", "wrong")
_COMMON_WORDS = frozenset(("the", "under", "behind", "inside", "in"))


@cache
def test_blocks() -> tuple[tuple[str, TopicBlock], ...]:
    """Every block of the test, each with the name of its file."""
    return tuple(
        (name, block)
        for name in TEST_FILES
        for block in read_blocks(TEST_ITEMS / f"{name}.txt", _SECTIONS, required=("you", "right"))
    )


def values_of(block: TopicBlock, section: str) -> list[str]:
    """The values of a section, which commas part."""
    return [value.strip() for text in block.texts(section) for value in text.split(",")]


@cache
def held_out_values() -> frozenset[str]:
    """The words and numbers, in lower case, of the values that only the test has."""
    values = [value for _, block in test_blocks() for value in values_of(block, "unseen")]
    return frozenset(word for value in values for word in value.lower().split()) - _COMMON_WORDS
