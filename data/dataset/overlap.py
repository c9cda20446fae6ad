"""Conversations inside raw text: found in whatever way the text marks who speaks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

MAX_WORDS_BETWEEN = 10
"""Words before a turn that may be a name, a tag or a time."""

MIN_WORDS = 12
"""Words that a conversation needs to be found inside a line; a shorter one must fill lines."""

_MAX_WORDS_BEHIND = 2  # such as a tag that ends a turn
_OPENING_WORDS = 3
_WORD = re.compile(r"\w+")


class _Match(NamedTuple):
    """Where a conversation is: numbers of its first word and of the word behind its last, and how many are its own."""

    first: int
    end: int
    words: int


class PassageFinder:
    """Finds conversations in raw text.

    A conversation is found where its turns follow one another word for word, without regard to case and punctuation,
    with at most `MAX_WORDS_BETWEEN` words before each turn.

    Args:
        conversations: the texts of the turns of each.
    """

    def __init__(self, conversations: Iterable[Sequence[str]]) -> None:
        self._by_opening: dict[str, list[list[list[str]]]] = {}
        for texts in conversations:
            turns = [words for text in texts if (words := _words(text))]
            if turns:
                self._by_opening.setdefault(" ".join(turns[0][:_OPENING_WORDS]), []).append(turns)
        self._first_words = {opening.split(" ", 1)[0] for opening in self._by_opening}

    def split(self, text: str) -> Iterator[tuple[str, bool]]:
        """Split a text into what is left of it and the conversations that were found, in order.

        Yields:
            each part, and whether it is one of the conversations. A text without any is one part, unchanged.
        """
        spans = self.spans(text)
        if not spans:
            yield text, False
            return
        position = 0
        for start, end in [*spans, (len(text), len(text))]:
            rest = text[position:start].strip()
            # Less is a mark between two conversations
            if len(_WORD.findall(rest)) > _MAX_WORDS_BEHIND:
                yield rest, False
            if end > start:
                yield text[start:end].strip(), True
            position = end

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Start and end of each conversation in a text, in characters, with the marks around it."""
        words = _words(text)
        places: list[tuple[int, int]] = []
        spans: list[tuple[int, int]] = []
        reached = 0
        for first, word in enumerate(words):
            if word not in self._first_words or first < reached:
                continue
            for match in self._matches(words, first):
                places = places or [found.span() for found in _WORD.finditer(text)]
                span = _with_marks(text, places[match.first][0], places[match.end - 1][1], match.words >= MIN_WORDS)
                if span is not None:
                    spans.append((max(span[0], spans[-1][1] if spans else 0), span[1]))
                    reached = match.end
                    break
        return spans

    def _matches(self, words: list[str], first: int) -> list[_Match]:
        """The conversations that begin with a word, the longest first."""
        found = [
            match
            for size in range(1, _OPENING_WORDS + 1)
            for turns in self._by_opening.get(" ".join(words[first : first + size]), ())
            if (match := _match(words, first, turns)) is not None
        ]
        return sorted(found, key=lambda match: match.end, reverse=True)


def _words(text: str) -> list[str]:
    return list(map(str.casefold, _WORD.findall(text)))


def _match(words: list[str], first: int, turns: list[list[str]]) -> _Match | None:
    position = first
    for number, turn in enumerate(turns):
        last_start = position + (MAX_WORDS_BETWEEN if number else 0)
        starts = range(position, last_start + 1)
        start = next((start for start in starts if words[start : start + len(turn)] == turn), None)
        if start is None:
            return None
        position = start + len(turn)
    return _Match(first, position, sum(map(len, turns)))


def _with_marks(text: str, start: int, end: int, anywhere: bool) -> tuple[int, int] | None:
    """Take in the marks before and behind a conversation on its lines.

    Args:
        text: what it was found in.
        start: of its first word.
        end: of its last word.
        anywhere: other words may stand on its lines; else there is None where they do.
    """
    line_start = text.rfind("\n", 0, start) + 1
    line_end = text.find("\n", end)
    line_end = len(text) if line_end < 0 else line_end
    opens = len(_WORD.findall(text[line_start:start])) <= MAX_WORDS_BETWEEN
    closes = len(_WORD.findall(text[end:line_end])) <= _MAX_WORDS_BEHIND
    if not anywhere and not (opens and closes):
        return None
    return line_start if opens else start, line_end if closes else end
