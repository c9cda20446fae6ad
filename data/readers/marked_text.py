"""The turns of one conversation in a text that marks who speaks, such as a cell of a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tinylm.chat_format import Role
from tinylm.data.readers.chat_logs import PeopleSurvey
from tinylm.data.readers.labels import LabelSurvey
from tinylm.data.readers.lines import Place
from tinylm.data.readers.markup import Mark, Markup, find_marks
from tinylm.data.readers.options import ReadOptions
from tinylm.data.readers.record_values import shown
from tinylm.data.readers.turns import TOOLS, OddError, Turn, UnusableError, is_tool_role


class MarkedTurn:
    """A turn that is being read.

    Attributes:
        role: None for the turn of somebody else, `name`; without a name, it is left out.
    """

    def __init__(self, role: Role | None, place: Place, name: str = "") -> None:
        self.role, self.place, self.name = role, place, name
        self._pieces: list[str] = []

    def add(self, text: str) -> None:
        """Take in more of its text."""
        if text:
            self._pieces.append(text)

    def trim(self) -> None:
        """Take the space that sets a mark off from the text before it."""
        if self._pieces:
            self._pieces[-1] = self._pieces[-1].rstrip(" \t")

    @property
    def text(self) -> str:
        """All of its text."""
        return "".join(self._pieces)


def _error_of_other(place: Place, name: str) -> UnusableError:
    """Why a turn of somebody who is no user, assistant or system is not read."""
    if is_tool_role(name.strip("[]")) or "tool" in name.lower() or "function" in name.lower():
        return UnusableError(place, f"role {shown(name)}: tools are not read, so take the record out", TOOLS)
    what = "is not read, only system, user and assistant: rename the role or take the record out"
    return OddError(place, f"role {shown(name)} {what}")


def find_markup(lines: Sequence[str], options: ReadOptions) -> Markup | None:
    """The way in which a text of these lines is marked, if it is."""
    markup = find_marks(lines)
    if markup is not None:
        return markup
    survey = LabelSurvey(options)
    for number, line in enumerate(lines, 1):
        survey.add(number, line)
    return survey.markup()


def turns_of_text(place: Place, text: str, options: ReadOptions) -> tuple[str, Iterator[Turn]] | None:
    """The turns of a conversation in a text that marks who speaks.

    Returns:
        the name of the markup, and at least two turns, of which one may be a tool's; None where the text is not marked
        in a known way.
    """
    lines = text.split("\n")
    markup = find_markup(lines, options)
    if markup is None:
        return None
    turns: list[MarkedTurn] = []
    before: list[str] = []
    for number, line in enumerate(lines, 1):
        position = 0
        for mark in markup.marks(line, number):
            _add(line[position : mark.start], before, turns)
            position = mark.end
            if mark.kind in ("role", "other", "aside"):
                turns.append(MarkedTurn(mark.role, place, mark.name))
            elif turns:
                turns[-1].trim()
        _add(line[position:] + "\n", before, turns)
    preamble = "".join(before)
    if preamble.strip():
        if not markup.preamble_is_system:
            return None
        turns.insert(0, MarkedTurn("system", place))
        turns[0].add(preamble)
    return (markup.name, closed(turns)) if len(turns) > 1 else None


def closed(turns: Sequence[MarkedTurn]) -> Iterator[Turn]:
    """The turns that are not left out.

    Raises:
        UnusableError: one of them is a tool's.
        OddError: one is that of a role that is not known.
    """
    for turn in turns:
        if turn.role is None and turn.name:
            raise _error_of_other(turn.place, turn.name)
    for turn in turns:
        if turn.role is not None:
            yield Turn(turn.role, turn.text, turn.place)


def people_in_text(text: str) -> list[tuple[str, str]]:
    """Who says what in a text whose lines begin with names, line by line; nothing where they do not."""
    survey = PeopleSurvey()
    lines = text.split("\n")
    for line in lines:
        survey.add(line)
    return [survey.parted(line) for line in lines if line.strip()] if survey.is_log else []


def _add(text: str, before: list[str], turns: list[MarkedTurn]) -> None:
    if turns:
        turns[-1].add(text)
    else:
        before.append(text)


def marks_of(markup: Markup, line: str, number: int, begins: bool) -> list[Mark]:
    """The marks of a line, or of a piece of it that `begins` it or not."""
    return markup.marks(line, number) if begins or not markup.only_at_begin else []
