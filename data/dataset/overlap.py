"""Find known conversations in raw text, whatever marks their turns: tags, labels, names, times, a template."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

MAX_WORDS_BETWEEN = 10
"""Most words before a turn that may be a mark, such as a name, a tag or a time."""

MIN_WORDS = 12
"""Fewest words of a conversation that is found among other text of its lines; a shorter one must fill its lines."""

_MAX_WORDS_BEHIND = 2  # such as a tag that ends a turn
_MARK_CHARACTERS = 200
_GROUP_CHARACTERS = 1 << 18
_SEPARATOR = "\n\n"
_WORD = re.compile(r"\w+")


class _Match(NamedTuple):
    """Place of a conversation in the words of a text.

    Attributes:
        first, end: numbers of its first word and of the word after its last.
        words: number of its words, without marks.
    """

    first: int
    end: int
    words: int


class PassageFinder:
    """Finds conversations in raw text.

    A conversation is found where its turns follow one another word for word, without regard to case and punctuation,
    with at most `MAX_WORDS_BETWEEN` words before each turn. It may span several documents, because blank lines separate
    the documents of a text file and a turn may contain such lines.

    Args:
        conversations: the texts of the turns of each conversation.
    """

    def __init__(self, conversations: Iterable[Sequence[str]]) -> None:
        # The conversations by their first and second word; "" where the first turn has one word
        self._openings: dict[str, dict[str, list[list[list[str]]]]] = {}
        self._longest = 0
        for texts in conversations:
            self._longest = max(self._longest, sum(len(text) + _MARK_CHARACTERS for text in texts))
            turns = [words for text in texts if (words := _words(text))]
            if turns:
                first, second = (*turns[0], "")[:2]
                self._openings.setdefault(first, {}).setdefault(second, []).append(turns)

    def split(self, documents: Iterable[str]) -> Iterator[tuple[str, bool]]:
        """Split documents into conversations that were found and the text around them, in order.

        Yields:
            each part, and whether it is a conversation. A document without one is unchanged.
        """
        pending: list[str] = []
        size = 0
        limit = _GROUP_CHARACTERS + self._longest
        for document in documents:
            pending.append(document)
            size += len(document)
            if size > limit:
                parts, pending = self._split_group(pending, self._longest)
                yield from parts
                size = sum(map(len, pending))
                limit = size + _GROUP_CHARACTERS + self._longest
        yield from self._split_group(pending, 0)[0]

    def _split_group(self, documents: list[str], kept_back: int) -> tuple[list[tuple[str, bool]], list[str]]:
        """Split successive documents.

        Args:
            documents: in order.
            kept_back: characters at the end that are not split yet, as a conversation in them may end in a later
                document.

        Returns:
            the parts, and the documents at the end that were not split.
        """
        text = _SEPARATOR.join(documents)
        spans = self.spans(text)
        parts: list[tuple[str, bool]] = []
        position = reached = 0  # of the document in the text; of the text that is split
        for number, document in enumerate(documents):
            end = position + len(document)
            if kept_back and end > len(text) - kept_back:
                rest = [document] if reached <= position else [part for part, _ in _left(text[reached:end])]
                return parts, [*rest, *documents[number + 1 :]]
            inside = [span for span in spans if span[0] < end and span[1] > position]
            if not inside:
                parts.append((document, False))
            for start, stop in inside:
                parts += _left(text[max(reached, position) : max(start, position)])
                if start >= position:
                    parts.append((text[start:stop].strip(), True))
                reached = stop
            if inside:
                parts += _left(text[reached:end])
            position = end + len(_SEPARATOR)
        return parts, []

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Find start and end of each conversation in a text, in characters, with the marks around it."""
        spans: list[tuple[int, int]] = []
        start = 0
        while start < len(text):
            # A long text in steps: the list of its words takes many times the memory of the text
            step = text.find(" ", start + _GROUP_CHARACTERS) + 1 or len(text)
            for begin, end in self._spans(text[start : step + self._longest]):
                if start + begin < step:
                    spans.append((start + begin, start + end))
            start = max(step, spans[-1][1] if spans else 0)
        return spans

    def _spans(self, text: str) -> list[tuple[int, int]]:
        words = _words(text)
        places: list[tuple[int, int]] = []
        spans: list[tuple[int, int]] = []
        reached = 0
        pairs = enumerate(zip(words, [*words[1:], ""], strict=False))
        openings = self._openings
        for first in [
            number for number, (word, second) in pairs if word in openings and openings[word].keys() & (second, "")
        ]:
            if first < reached:
                continue
            for match in self._matches(words, first):
                places = places or [found.span() for found in _WORD.finditer(text)]
                span = _with_marks(text, places[match.first][0], places[match.end - 1][1], match.words >= MIN_WORDS)
                if span is not None:
                    spans.append((max(span[0], spans[-1][1] if spans else 0), span[1]))
                    reached = bisect_left(places, (span[1], 0))
                    break
        return spans

    def _matches(self, words: list[str], first: int) -> list[_Match]:
        """The conversations that begin at a word, the longest first."""
        openings = self._openings[words[first]]
        second = words[first + 1] if first + 1 < len(words) else ""
        candidates = [*openings.get("", ()), *(openings.get(second, ()) if second else ())]
        found = [match for turns in candidates if (match := _match(words, first, turns)) is not None]
        return sorted(found, key=lambda match: match.end, reverse=True)


def _left(rest: str) -> list[tuple[str, bool]]:
    """The text beside a conversation as a part, unless it is so short that it is a mark."""
    return [(rest.strip(), False)] if len(_WORD.findall(rest)) > _MAX_WORDS_BEHIND else []


def _words(text: str) -> list[str]:
    if text.isascii():
        return _WORD.findall(text.lower())
    # Word by word: casefold may turn a letter into several characters, of which one is no letter
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
    """Extend a conversation by the marks before and after it on its lines.

    Args:
        text: what it was found in.
        start: of its first word.
        end: of its last word.
        anywhere: whether its lines may hold other text.

    Returns:
        start and end with the marks; None if the lines hold other text and may not.
    """
    line_start = text.rfind("\n", 0, start) + 1
    line_end = text.find("\n", end)
    line_end = len(text) if line_end < 0 else line_end
    opens = len(_WORD.findall(text[line_start:start])) <= MAX_WORDS_BETWEEN
    closes = len(_WORD.findall(text[end:line_end])) <= _MAX_WORDS_BEHIND
    if not anywhere and not (opens and closes):
        return None
    return line_start if opens else start, line_end if closes else end
