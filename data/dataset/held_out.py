"""The split into training and held-out examples by a hash of their content.

The split takes one pass and bounded memory. It depends on neither machine nor order, and an example that occurs twice
is never on both sides. What is held out of one stage of training is held out of the other as well.
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
_WHITE_SPACE = bytes(code for code in range(128) if chr(code).isspace())

Turns = tuple[str, ...]
"""The texts of a conversation's turns, without its system message."""


@dataclass(frozen=True)
class HeldOutSplit:
    """What is held out of a stage's examples.

    Attributes:
        keys: content hashes of the held-out examples.
        cut: characters of a single document before its held-out end; None where whole examples are held out.
        notes: lines that the user should read.
        conversations: the held-out conversations.
        passages: conversations that another stage holds out, and that are held out of raw text wherever it has them.
    """

    keys: frozenset[bytes] = frozenset()
    cut: int | None = None
    notes: tuple[str, ...] = ()
    conversations: tuple[Turns, ...] = ()
    passages: tuple[Turns, ...] = ()

    def divide(self, examples: Iterable[Example]) -> Iterator[tuple[Example, bool]]:
        """Yield each example and whether it is held out. A document that is held out in part is yielded in parts."""
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
        """Yield the parts of a text without the `passages`."""
        if self.passages:
            yield from (part for part, is_passage in self._finder.split([text]) if not is_passage)
        else:
            yield text

    @cached_property
    def _finder(self) -> PassageFinder:
        return PassageFinder(self.passages)

    def as_json(self) -> dict[str, Any]:
        """Plain values of what this stage holds out itself."""
        return {
            "keys": sorted(key.hex() for key in self.keys),
            "cut": self.cut,
            "notes": list(self.notes),
            "conversations": [list(turns) for turns in self.conversations],
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> HeldOutSplit:
        """Create a split from what `as_json` returned."""
        return cls(
            frozenset(map(bytes.fromhex, values["keys"])),
            values["cut"],
            tuple(values["notes"]),
            tuple(tuple(turns) for turns in values["conversations"]),
        )


class _Candidate(NamedTuple):
    """An example that may be held out.

    Attributes:
        copies: how often it occurs.
        characters: of all copies.
        turns: of a conversation.
    """

    copies: int
    characters: int
    turns: Turns | None


class HeldOut:
    """Decides which examples of a stream are held out: those with the lowest hashes.

    Only candidates are kept in memory: the examples with the lowest hashes, up to `max_characters`.

    Args:
        fraction: share of the examples to hold out.
        max_characters: most characters to hold out; a first, longer example is held out nevertheless.
    """

    def __init__(self, fraction: float, max_characters: int = MAX_CHARACTERS) -> None:
        self._fraction, self._max_characters = fraction, max_characters
        self._found: dict[bytes, _Candidate] = {}
        self._below: bytes | None = None  # only lower keys are candidates
        self._size, self._trim_at = 0, 2 * max_characters
        self._examples = self._characters = 0
        self._first: Example | None = None

    def add(self, example: Example) -> bytes:
        """Add the next example and return its content hash."""
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
        """Decide which of the added examples are held out."""
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
            # An example that is most of the data stays in training
            if 2 * characters > self._characters:
                continue
            chosen.append(key)
            held += copies
            held_characters += characters
        return chosen

    def _trim(self) -> None:
        """Remove candidates that cannot be held out any more, as lower keys fill `max_characters`.

        The longest of those does not count: it may turn out to be most of the data and stay in training.
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
    """Hash the text of an example without regard to case, white space and roles.

    A conversation and a document that holds its turns line by line have the same hash.

    Returns:
        16 bytes.
    """
    text = "\n".join(texts_of(example)).casefold()
    if text.isascii():
        content = text.encode("ascii").translate(None, _WHITE_SPACE)  # many times faster than `split`
    else:
        content = "".join(text.split()).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(content, digest_size=16).digest()


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
    # Cut between two lines or words if possible
    for separator in ("\n", " "):
        found = document.rfind(separator, cut - MIN_TAIL_CHARACTERS, cut)
        if found > 0:
            cut = found + 1
            break
    return HeldOutSplit(
        cut=cut,
        notes=(f"one document: its last {len(document) - cut:,} characters are held out for validation",),
    )
