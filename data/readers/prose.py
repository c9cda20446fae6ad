"""Whether blank lines part the paragraphs of running prose, as in a book, or texts of their own.

A paragraph of prose goes on from the one before: it begins with what somebody says, or with a word such as "She" or
"Then"; a text of its own seldom does. Books have chapters, and lines that are broken at one width.
"""

from __future__ import annotations

import re
from array import array

_SPEECH = re.compile(r"[\"\u201c\u201d\u201e\u00ab\u00bb\u2018\u2019\u201a\u300c'\u2014\u2013]\s?\w")
# Not the words with which tales begin, such as "It was", "There was", "Es war", "Il était"
_GOES_ON = re.compile(
    r"(?:he|she|they|his|her|hers|their|him|them|these|those|then|but|and|yet|still|however|so"
    r"|er|sie|sein|seine|ihr|ihre|dann|aber|und|doch|da|nun"
    r"|elle|ils|elles|son|ses|leur|leurs|puis|mais|et|alors|cette|cela"
    r"|\u00e9l|ella|ellos|ellas|su|sus|luego|entonces|pero|esto|esta|este"
    r"|lui|lei|loro|suo|poi|allora|quindi|questo|questa"
    r"|ele|ela|eles|elas|seu|ent\u00e3o|mas|depois)\b",
    re.IGNORECASE,
)
_CHAPTER = re.compile(
    r"(?:chapter|part|book|act|scene|kapitel|teil|chapitre|cap\u00edtulo|capitolo)\s+(?:\d+|[ivxlc]+\b|[a-z]+\b)|"
    r"\*\*\* ?START OF|[IVXLC]+\.?\s*$",
    re.IGNORECASE,
)
_MARKDOWN = re.compile(r"#{1,6}\s|[-*+]\s|\d+[.)]\s|```|\||>\s")
_MUCH, _SOME, _LITTLE = 0.25, 0.1, 0.04
_WIDTH = range(50, 100)


class ProseSurvey:
    """Takes in the lines of a text.

    Args:
        is_markdown: whether headings, lists and the like are structure of one text.
    """

    def __init__(self, is_markdown: bool) -> None:
        self._is_markdown = is_markdown
        self._lengths = array("Q")
        self._open = False
        self._speech = self._goes_on = self._lower = self._chapters = self._markdown = 0
        self._broken_lines = self._lines = 0
        self._last_length = 0

    def add(self, text: str, begins: bool, ends: bool) -> None:
        """Take in the next line, or a piece of it."""
        if begins and ends and (not text or text.isspace()):
            self._open = False
            self._last_length = 0
            return
        if self._open:
            self._lengths[-1] += len(text) + 1
            # A line that another follows is broken where it is full
            self._lines += 1
            self._broken_lines += self._last_length in _WIDTH
        else:
            self._open = True
            self._lengths.append(len(text))
            self._begin(text[:200].lstrip()[:80])
        self._last_length = len(text)

    def _begin(self, text: str) -> None:
        """Look at the beginning of a paragraph."""
        if not text:
            return
        self._speech += _SPEECH.match(text) is not None
        self._goes_on += _GOES_ON.match(text) is not None and not text[0].islower()
        self._lower += text[0].islower()
        self._chapters += _CHAPTER.match(text) is not None
        self._markdown += self._is_markdown and _MARKDOWN.match(text) is not None

    @property
    def blocks(self) -> int:
        """How many paragraphs blank lines part."""
        return len(self._lengths)

    @property
    def median_length(self) -> int:
        """Of the paragraphs, in characters."""
        return sorted(self._lengths)[len(self._lengths) // 2] if self._lengths else 0

    @property
    def is_prose(self) -> bool:
        """Whether the paragraphs are parts of one text."""
        count = self.blocks
        if count < 3:
            return False
        if self._markdown >= _SOME * count:
            return True
        # In a text without capitals, a small letter says nothing
        lower = self._lower if 2 * self._lower < count else 0
        goes_on, speech = self._goes_on + lower, self._speech
        wrapped = self._lines > count and self._broken_lines > self._lines / 2
        chapters = 2 <= self._chapters < count / 2
        if goes_on >= _SOME * count and goes_on + speech >= _MUCH * count:
            return True
        # Quotations alone may be a collection of them
        return (wrapped or chapters) and goes_on + speech >= _SOME * count and goes_on >= _LITTLE * count
