"""Which examples are held out: decided by a hash of their content, in one pass and bounded memory.

The same everywhere and in any order, and an example that occurs twice is never on both sides.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tinylm.chat_format import Example, texts_of

MIN_CONVERSATIONS_TO_SPLIT = 5
MIN_TAIL_CHARACTERS = 200
MAX_CHARACTERS = 2_000_000


@dataclass(frozen=True)
class Split:
    """What is held out.

    Attributes:
        keys: content hashes of the examples that are.
        cut: where a lone document is cut; its end is held out.
        notes: what the user should know about it.
    """

    keys: frozenset[bytes] = frozenset()
    cut: int | None = None
    notes: tuple[str, ...] = ()

    def divide(self, examples: Iterable[Example]) -> Iterator[tuple[Example, bool]]:
        """Each example with whether it is held out; a lone document in its two parts."""
        for example in examples:
            if self.cut is not None:
                yield example[: self.cut], False
                yield example[self.cut :], True
            else:
                yield example, bool(self.keys) and content_hash(example) in self.keys

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"keys": sorted(key.hex() for key in self.keys), "cut": self.cut, "notes": list(self.notes)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Split:
        """What `as_json` gave."""
        return cls(frozenset(map(bytes.fromhex, values["keys"])), values["cut"], tuple(values["notes"]))


class HeldOut:
    """Takes in a stream of examples and decides which of them are held out.

    Those with the lowest hashes are, so only candidates are remembered: the lowest ones that `max_characters` hold.

    Args:
        fraction: wanted part of the examples.
        max_characters: held-out text is not made longer than this, but for its first example.
    """

    def __init__(self, fraction: float, max_characters: int = MAX_CHARACTERS) -> None:
        self._fraction, self._max_characters = fraction, max_characters
        self._found: dict[bytes, tuple[int, int]] = {}
        self._below: bytes | None = None  # keys from here on are no candidates
        self._size, self._trim_at = 0, 2 * max_characters
        self._examples = self._characters = 0
        self._first: Example | None = None

    def add(self, example: Example) -> bytes:
        """Take in the next example; its content hash is returned."""
        key = content_hash(example)
        size = characters_of(example)
        self._first = example if self._examples == 0 else None if self._examples == 1 else self._first
        self._documents = isinstance(example, str)
        self._examples += 1
        self._characters += size
        if self._below is None or key < self._below:
            count, characters = self._found.get(key, (0, 0))
            self._found[key] = (count + 1, characters + size)
            self._size += size
            if self._size > self._trim_at:
                self._trim()
        return key

    def decide(self) -> Split:
        """What is held out of all that was taken in."""
        if not self._fraction:
            return Split(notes=("validation_fraction is 0: training goes on without validation",))
        if self._examples == 1 and isinstance(self._first, str):
            return _split_lone_document(self._first, self._fraction, self._max_characters)
        documents = self._examples > 0 and self._documents
        if self._examples < (2 if documents else MIN_CONVERSATIONS_TO_SPLIT):
            few = f"only {self._examples} example(s): too few to hold any out, training goes on without validation"
            return Split(notes=(few,))
        if len(self._found) < 2 and self._below is None:
            return Split(notes=("all examples are the same: training goes on without validation",))
        return Split(frozenset(self._lowest()))

    def _lowest(self) -> set[bytes]:
        chosen: set[bytes] = set()
        distinct = len(self._found) + (self._below is not None)
        held = held_characters = 0
        for key in sorted(self._found):
            count, characters = self._found[key]
            if held >= max(1, self._fraction * self._examples) or len(chosen) + 1 >= distinct:
                break
            if chosen and held_characters + characters > self._max_characters:
                break
            # An example that is most of the data is there to learn from
            if 2 * characters > self._characters:
                continue
            chosen.add(key)
            held += count
            held_characters += characters
        return chosen

    def _trim(self) -> None:
        """Forget keys that cannot be chosen any more: those before them fill `max_characters`.

        One example may turn out to be most of the data and be passed over, so the longest does not count.
        """
        kept: dict[bytes, tuple[int, int]] = {}
        size = longest = 0
        for key in sorted(self._found):
            characters = self._found[key][1]
            longest = max(longest, characters)
            if size + characters - longest > self._max_characters and len(kept) >= 2:
                self._below = key
                break
            size += characters
            kept[key] = self._found[key]
        self._found, self._size = kept, size
        self._trim_at = size + self._max_characters


def content_hash(example: Example) -> bytes:
    """16 bytes that tell examples of other content apart."""
    return hashlib.blake2b(json.dumps(example).encode(), digest_size=16).digest()


def characters_of(example: Example) -> int:
    """Characters of an example's text."""
    return sum(map(len, texts_of(example)))


def _split_lone_document(document: str, fraction: float, max_characters: int) -> Split:
    wanted = min(max(MIN_TAIL_CHARACTERS, int(len(document) * fraction)), max_characters)
    if len(document) < 5 * MIN_TAIL_CHARACTERS:
        short = "one short document: too little to hold any out, training goes on without validation"
        return Split(notes=(short,))
    cut = len(document) - wanted
    # Rather between two paragraphs, lines or words than inside one
    for separator in ("\n", " "):
        found = document.rfind(separator, cut - MIN_TAIL_CHARACTERS, cut)
        if found > 0:
            cut = found + 1
            break
    return Split(
        cut=cut,
        notes=(f"one document: its last {len(document) - cut:,} characters are held out for validation",),
    )
