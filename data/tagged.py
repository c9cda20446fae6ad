r"""Tagged text: conversations as people type them.

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
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from os import PathLike

from tinylm.chat_format import Conversation, Role
from tinylm.data.lines import Place, iter_lines
from tinylm.data.turns import ROLES, Turn, build_conversation
from tinylm.errors import DataError

# ASCII, or else the long s of Unicode would count as an s.
_MARK = re.compile(r"<(?:(bos|eos)>|(system|user|assistant|bot)>:?)", re.IGNORECASE | re.ASCII)
_ESCAPED_HASH = re.compile(r"\\+#")
_OPENING_ROLES = ("system", "user")


@dataclass
class _Layout:
    """What decides where conversations begin."""

    empty: bool = True
    looks_like_json: bool = False
    has_tag: bool = False
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


def iter_tagged_conversations(path: str | PathLike[str]) -> Iterator[Conversation]:
    """The conversations of a file of tagged text, one by one; the form is described atop this module.

    Args:
        path: a UTF-8 text file. It is read twice, in flat memory but for the conversation at hand.

    Yields:
        Conversations as `build_conversation` makes them; none where the file holds only white space and
        comments.

    Raises:
        DataError: the file cannot be read as text, has no tag, has text before the first tag of a
            conversation, or holds an empty turn or a conversation without an assistant's turn.
    """
    layout = _survey(path)
    if layout.empty:
        return
    if not layout.has_tag:
        hint = (
            "is this JSON? then let its name end in .json"
            if layout.looks_like_json
            else "is this raw text? then give it to --pretrain"
        )
        raise DataError(path, None, f"no <user>/<assistant> tags found; {hint}")
    reader = _Reader(path, layout)
    for number, line in _content_lines(path):
        yield from reader.read_line(number, line)
    yield from reader.finish()


class _Reader:
    """Goes over the lines once and hands out each conversation when the next one begins."""

    def __init__(self, path: str | PathLike[str], layout: _Layout) -> None:
        self._path = path
        self._layout = layout
        self._turns: list[_OpenTurn] = []
        self._after_gap = False
        self._after_eos = False

    def read_line(self, number: int, line: str) -> Iterator[Conversation]:
        marks = list(_MARK.finditer(line))
        if self._begins_conversation(line, marks):
            yield from self.finish()
        position = 0
        for mark in marks:
            self._add_text(number, line[position : mark.start()])
            position = mark.end()
            structure, tag = mark.groups()
            if tag is not None:
                role = ROLES[tag.lower()]
                if role == "system" and not self._layout.has_bos and self._last_role() == "assistant":
                    yield from self.finish()
                self._turns.append(_OpenTurn(role, Place(self._path, number)))
                self._after_eos = False
            elif structure.lower() == "bos":
                yield from self.finish()
            else:
                self._after_eos = True
                self._trim()
        self._add_text(number, line[position:] + "\n")
        self._after_gap = not line.strip()

    def finish(self) -> Iterator[Conversation]:
        """The conversation at hand, if there is one."""
        if self._turns:
            yield build_conversation(self._turns[0].place, (turn.close() for turn in self._turns))
        self._turns = []

    def _begins_conversation(self, line: str, marks: list[re.Match[str]]) -> bool:
        layout = self._layout
        if layout.has_bos or _opening_role(line, marks) not in _OPENING_ROLES:
            return False
        if layout.one_per_line:
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


def _survey(path: str | PathLike[str]) -> _Layout:
    layout = _Layout()
    blank = False
    for _, line in _content_lines(path):
        if not line.strip():
            blank = True
            continue
        if layout.empty:
            layout.looks_like_json = line.lstrip().startswith(("{", "["))
        layout.has_gap |= blank and not layout.empty
        layout.empty = blank = False
        marks = list(_MARK.finditer(line))
        names = [mark[0].lower() for mark in marks]
        layout.has_bos |= "<bos>" in names
        layout.has_eos |= "<eos>" in names
        roles = [ROLES[mark[2].lower()] for mark in marks if mark[2]]
        if roles:
            layout.has_tag = True
            whole = _opening_role(line, marks) in _OPENING_ROLES and "assistant" in roles
            layout.tagged_lines_are_whole &= whole
    return layout


def _opening_role(line: str, marks: list[re.Match[str]]) -> Role | None:
    """The role whose tag the line begins with."""
    if not marks or marks[0][2] is None or line[: marks[0].start()].strip():
        return None
    return ROLES[marks[0][2].lower()]


def _content_lines(path: str | PathLike[str]) -> Iterator[tuple[int, str]]:
    """The lines that are no comments, with the backslash of an escaped '#' removed."""
    for number, line in iter_lines(path):
        text = line.lstrip()
        if text.startswith("#"):
            continue
        if _ESCAPED_HASH.match(text):
            yield number, line[: len(line) - len(text)] + text[1:]
        else:
            yield number, line
