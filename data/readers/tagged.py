r"""Tagged text: conversations as people type them, and as other programs mark them.

::

    # A line whose first non-space character is '#' is a comment.
    # For text that begins a line with '#', write '\#'.
    <system> You are Pip.
    <user> Hello!
    <assistant> Hello! How can I help?

Tags are `<system>`, `<user>`, `<assistant>` and `<bot>` in any case, with or without a colon right after
them, at the start of a line or inside it. A message runs to the next tag, over line ends and blank lines.
`<bos>` and `<eos>` are structure and never text. A message that holds such a mark as text needs one of the
JSON forms.

Where a conversation begins:

1. In a file that has `<bos>`: at each `<bos>`, and nowhere else.
2. In any other file, at a line that begins with `<system>` or `<user>` and comes after a blank line or after
   an `<eos>`, unless there was nothing but a system message so far; and at a `<system>` after an assistant's
   turn.
3. In a file with no `<bos>`, no `<eos>` and no blank line between its lines, where every line with a tag
   begins with `<system>` or `<user>` and has an assistant's tag too: at each such line.

Of several backslashes before the '#', one is removed: '\\#' stands for '\#'.

Text in another markup of `tinylm.data.readers.markup` is read by the same rules, with its own marks for tags and for
`<bos>` and `<eos>`, and without comments. Where every question is marked as one, each begins a conversation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from os import PathLike

from tinylm.chat_format import Role
from tinylm.data.readers.lines import Place, iter_lines
from tinylm.data.readers.markup import TAGS, Mark, Markup, find_markup
from tinylm.data.readers.turns import Dialogue, Turn

_ESCAPED_HASH = re.compile(r"\\+#")
_OPENING_ROLES = ("system", "user")
_LOOKED_AT_LINES = 2000


@dataclass
class _Layout:
    """What decides where conversations begin."""

    empty: bool = True
    has_bos: bool = False
    has_eos: bool = False
    has_gap: bool = False
    tagged_lines_are_whole: bool = True

    @property
    def one_per_line(self) -> bool:
        return self.tagged_lines_are_whole and not (self.has_bos or self.has_eos or self.has_gap)


@dataclass
class _OpenTurn:
    role: Role
    place: Place
    pieces: list[str] = field(default_factory=list)

    def close(self) -> Turn:
        return Turn(self.role, "".join(self.pieces), self.place)


def first_content_line(path: str | PathLike[str]) -> str | None:
    """The first line that is neither blank nor a comment; None where there is none."""
    return next((line for _, line in _content_lines(path, TAGS) if line.strip()), None)


def find_text_markup(path: str | PathLike[str]) -> Markup | None:
    """The markup of a text file, found in its first lines; None where they have none.

    Raises:
        DataError: the file cannot be read as text.
    """
    return find_markup([line for _, line in islice(iter_lines(path), _LOOKED_AT_LINES)])


def iter_tagged_dialogues(path: str | PathLike[str], markup: Markup = TAGS) -> Iterator[Dialogue]:
    """The conversations of a file of tagged text, one by one; the form is described atop this module.

    Args:
        path: a text file. It is read twice, in flat memory but for the conversation at hand.
        markup: how it is marked.

    Yields:
        Conversations with their turns; none where the file holds only white space and comments.

    Raises:
        DataError: the file cannot be read as text, or has text before the first tag of a conversation.
    """
    layout = _survey(path, markup)
    reader = _Reader(path, markup, layout)
    for number, line in _content_lines(path, markup):
        yield from reader.read_line(number, line)
    yield from reader.finish()


class _Reader:
    """Goes over the lines once and hands out each conversation when the next one begins."""

    def __init__(self, path: str | PathLike[str], markup: Markup, layout: _Layout) -> None:
        self._path = path
        self._markup = markup
        self._layout = layout
        self._turns: list[_OpenTurn] = []
        self._after_gap = False
        self._after_eos = False

    def read_line(self, number: int, line: str) -> Iterator[Dialogue]:
        marks = self._markup.marks(line)
        if self._begins_conversation(line, marks):
            yield from self.finish()
        position = 0
        for mark in marks:
            self._add_text(number, line[position : mark.start])
            position = mark.end
            if mark.role is not None:
                if mark.role == "system" and not self._layout.has_bos and self._last_role() == "assistant":
                    yield from self.finish()
                self._turns.append(_OpenTurn(mark.role, Place(self._path, number)))
                self._after_eos = False
            elif mark.kind == "bos":
                yield from self.finish()
            else:
                self._after_eos |= mark.kind == "eos"
                self._trim()
        self._add_text(number, line[position:] + "\n")
        self._after_gap = not line.strip()

    def finish(self) -> Iterator[Dialogue]:
        """The conversation at hand, if there is one."""
        if self._turns:
            turns = [turn.close() for turn in self._turns]
            yield Dialogue(self._turns[0].place, turns, self._markup.name)
        self._turns = []

    def _begins_conversation(self, line: str, marks: list[Mark]) -> bool:
        layout = self._layout
        if layout.has_bos or _opening_role(line, marks) not in _OPENING_ROLES:
            return False
        if layout.one_per_line or self._markup.each_question_anew:
            return True
        if not (self._after_gap or self._after_eos):
            return False
        return any(turn.role != "system" for turn in self._turns)

    def _last_role(self) -> Role | None:
        return self._turns[-1].role if self._turns else None

    def _add_text(self, number: int, text: str) -> None:
        if self._turns:
            self._turns[-1].pieces.append(text)
        elif text.strip():
            place = Place(self._path, number)
            raise place.error("text before the first <user> or <system> tag; put a tag before it")

    def _trim(self) -> None:
        """Take the space that set an `<eos>` off from the text before it."""
        if self._turns and self._turns[-1].pieces:
            self._turns[-1].pieces[-1] = self._turns[-1].pieces[-1].rstrip(" \t")


def _survey(path: str | PathLike[str], markup: Markup) -> _Layout:
    layout = _Layout()
    blank = False
    for _, line in _content_lines(path, markup):
        if not line.strip():
            blank = True
            continue
        layout.has_gap |= blank and not layout.empty
        layout.empty = blank = False
        marks = markup.marks(line)
        kinds = [mark.kind for mark in marks]
        layout.has_bos |= "bos" in kinds
        layout.has_eos |= "eos" in kinds
        if "role" in kinds:
            whole = _opening_role(line, marks) in _OPENING_ROLES and any(mark.role == "assistant" for mark in marks)
            layout.tagged_lines_are_whole &= whole
    return layout


def _opening_role(line: str, marks: list[Mark]) -> Role | None:
    """The role whose tag the line begins with."""
    begins = bool(marks) and not line[: marks[0].start].strip()
    return marks[0].role if begins else None


def _content_lines(path: str | PathLike[str], markup: Markup) -> Iterator[tuple[int, str]]:
    """The lines that are no comments, with the backslash of an escaped '#' removed."""
    for number, line in iter_lines(path):
        text = line.lstrip()
        if not markup.has_comments:
            yield number, line
        elif text.startswith("#"):
            continue
        elif _ESCAPED_HASH.match(text):
            yield number, line[: len(line) - len(text)] + text[1:]
        else:
            yield number, line
