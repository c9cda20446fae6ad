"""The split into training and held-out examples, decided by a hash of their content.

It takes one pass and bounded memory, is the same everywhere and in any order, and never puts an example that occurs
twice on both sides. What is held out of one stage of training is held out of the other as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from tinylm.chat_format import Example, texts_of
from tinylm.data.dataset.overlap import PassageFinder

MIN_CONVERSATIONS_TO_SPLIT = 5
MIN_TAIL_CHARACTERS = 200
MAX_CHARACTERS = 2_000_000

Turns = tuple[str, ...]
"""The texts of a conversation's turns, without its system message."""


@dataclass(frozen=True)
class HeldOutSplit:
    """What is held out of a stage's examples.

    Attributes:
        keys: content hashes of the held-out examples.
        cut: where a lone document is cut; its end is held out.
        notes: what the user should know about it.
        conversations: the held-out conversations.
        passages: conversations that are held out of another stage, and therefore wherever they are in raw text.
    """

    keys: frozenset[bytes] = frozenset()
    cut: int | None = None
    notes: tuple[str, ...] = ()
    conversations: tuple[Turns, ...] = ()
    passages: tuple[Turns, ...] = ()

    def divide(self, examples: Iterable[Example]) -> Iterator[tuple[Example, bool]]:
        """Yield each example with whether it is held out; a document that is held out in part comes in parts."""
        ends: list[Example] = []

        def without_ends() -> Iterator[Example]:
            for example in examples:
                if self.cut is not None:
                    ends.append(example[self.cut :])
                yield example if self.cut is None else example[: self.cut]

        parts: Iterator[tuple[Example, bool]] = ((example, False) for example in without_ends())
        if self.passages:
            parts = self._finder.split(text for text in without_ends() if isinstance(text, str))
        for part, is_passage in parts:
            yield part, is_passage or (bool(self.keys) and content_hash(part) in self.keys)
        for end in ends:
            yield end, True

    def without_passages(self, text: str) -> Iterator[str]:
        """Yield the parts of a text that are none of the `passages`."""
        if self.passages:
            yield from (part for part, is_passage in self._finder.split([text]) if not is_passage)
        else:
            yield text

    @cached_property
    def _finder(self) -> PassageFinder:
        return PassageFinder(self.passages)

    def as_json(self) -> dict[str, Any]:
        """Plain values, of what was decided in this stage."""
        return {
            "keys": sorted(key.hex() for key in self.keys),
            "cut": self.cut,
            "notes": list(self.notes),
            "conversations": [list(turns) for turns in self.conversations],
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> HeldOutSplit:
        """Restore what `as_json` gave."""
        return cls(
            frozenset(map(bytes.fromhex, values["keys"])),
            values["cut"],
            tuple(values["notes"]),
            tuple(tuple(turns) for turns in values["conversations"]),
        )


class _Candidate(NamedTuple):
    """An example that may be held out: how often it occurs, its characters in all, and its turns."""

    copies: int
    characters: int
    turns: Turns | None


class HeldOut:
    """Takes in a stream of examples and decides which of them are held out.

    Those with the lowest hashes are, so only candidates are remembered: the lowest ones that `max_characters` hold.

    Args:
        fraction: wanted part of the examples.
        max_characters: held-out text is not made longer than this, but for its first example.
    """

    def __init__(self, fraction: float, max_characters: int = MAX_CHARACTERS) -> None:
        self._fraction, self._max_characters = fraction, max_characters
        self._found: dict[bytes, _Candidate] = {}
        self._below: bytes | None = None  # keys from here on are no candidates
        self._size, self._trim_at = 0, 2 * max_characters
        self._examples = self._characters = 0
        self._first: Example | None = None

    def add(self, example: Example) -> bytes:
        """Take in the next example and return its content hash."""
        key = content_hash(example)
        size = characters_of(example)
        self._first = example if self._examples == 0 else None if self._examples == 1 else self._first
        self._documents = isinstance(example, str)
        self._examples += 1
        self._characters += size
        if self._below is None or key < self._below:
            known = self._found.get(key, _Candidate(0, 0, _turns_of(example)))
            self._found[key] = known._replace(copies=known.copies + 1, characters=known.characters + size)
            self._size += size
            if self._size > self._trim_at:
                self._trim()
        return key

    def decide(self) -> HeldOutSplit:
        """Decide what is held out of all that was taken in."""
        if not self._fraction:
            return HeldOutSplit(notes=("validation_fraction is 0: training goes on without validation",))
        if self._examples == 1 and isinstance(self._first, str):
            return _split_lone_document(self._first, self._fraction, self._max_characters)
        documents = self._examples > 0 and self._documents
        if self._examples < (2 if documents else MIN_CONVERSATIONS_TO_SPLIT):
            few = f"only {self._examples} example(s): too few to hold any out, training goes on without validation"
            return HeldOutSplit(notes=(few,))
        if len(self._found) < 2 and self._below is None:
            return HeldOutSplit(notes=("all examples are the same: training goes on without validation",))
        chosen = self._lowest()
        turns = (self._found[key].turns for key in chosen)
        return HeldOutSplit(frozenset(chosen), conversations=tuple(one for one in turns if one is not None))

    def _lowest(self) -> list[bytes]:
        """The keys of the held-out examples, in order."""
        chosen: list[bytes] = []
        distinct = len(self._found) + (self._below is not None)
        held = held_characters = 0
        for key in sorted(self._found):
            copies, characters, _ = self._found[key]
            if held >= max(1, self._fraction * self._examples) or len(chosen) + 1 >= distinct:
                break
            if chosen and held_characters + characters > self._max_characters:
                break
            # An example that is most of the data is there to learn from
            if 2 * characters > self._characters:
                continue
            chosen.append(key)
            held += copies
            held_characters += characters
        return chosen

    def _trim(self) -> None:
        """Forget keys that cannot be chosen any more: those before them fill `max_characters`.

        One example may turn out to be most of the data and be passed over, so the longest does not count.
        """
        kept: dict[bytes, _Candidate] = {}
        size = longest = 0
        for key in sorted(self._found):
            characters = self._found[key].characters
            longest = max(longest, characters)
            if size + characters - longest > self._max_characters and len(kept) >= 2:
                self._below = key
                break
            size += characters
            kept[key] = self._found[key]
        self._found, self._size = kept, size
        self._trim_at = size + self._max_characters


def content_hash(example: Example) -> bytes:
    """Hash what an example says: equal for a conversation and a document of its turns, line by line.

    Case, white space and who speaks make no difference.

    Returns:
        16 bytes.
    """
    words = " ".join("\n".join(texts_of(example)).casefold().split())
    return hashlib.blake2b(words.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def characters_of(example: Example) -> int:
    """Count the characters of an example's text."""
    return sum(map(len, texts_of(example)))


def _turns_of(example: Example) -> Turns | None:
    if isinstance(example, str):
        return None
    return tuple(message["content"] for message in example if message["role"] != "system")


def _split_lone_document(document: str, fraction: float, max_characters: int) -> HeldOutSplit:
    wanted = min(max(MIN_TAIL_CHARACTERS, int(len(document) * fraction)), max_characters)
    if len(document) < 5 * MIN_TAIL_CHARACTERS:
        short = "one short document: too little to hold any out, training goes on without validation"
        return HeldOutSplit(notes=(short,))
    cut = len(document) - wanted
    # Rather between two paragraphs, lines or words than inside one
    for separator in ("\n", " "):
        found = document.rfind(separator, cut - MIN_TAIL_CHARACTERS, cut)
        if found > 0:
            cut = found + 1
            break
    return HeldOutSplit(
        cut=cut,
        notes=(f"one document: its last {len(document) - cut:,} characters are held out for validation",),
    )
