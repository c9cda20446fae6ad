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

A very long line comes in pieces, so that memory stays flat when all conversations are on one line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tinylm.chat_format import Role
from tinylm.data.readers.forms import TEXT_SUFFIXES, Reader, Reading
from tinylm.data.readers.labels import LabelSurvey
from tinylm.data.readers.lines import LONGEST_LINE, Piece, Place, iter_heads, iter_pieces
from tinylm.data.readers.marked_text import MarkedTurn, closed, marks_of
from tinylm.data.readers.markup import TAGS, Mark, Markup, find_marks
from tinylm.data.readers.people import OTHERS
from tinylm.data.readers.turns import Dialogue, OddError, Part

_ESCAPED_HASH = re.compile(r"\\+#")
_OPENING_ROLES = ("system", "user")
_LOOKED_AT_LINES = 2000
# Longer than any mark, so that one that is cut by the end of a piece is found in the next
_LONGEST_MARK = 200
_COMMENTS = "comment lines inside turns, which begin with #; a line of text that does is written \\#"


class MarkedTextReader(Reader):
    """Text files whose turns are marked: tagged text, the templates of models, labels at the beginning of lines."""

    suffixes = TEXT_SUFFIXES

    def claims(self, reading: Reading) -> bool:
        """Whether the first lines of a text file have tags, or its lines labels of certain roles."""
        return not reading.documents and find_text_markup(reading) is not None

    def parts(self, reading: Reading) -> Iterator[Part]:
        """The conversations, as the module says."""
        markup = find_text_markup(reading)
        assert markup is not None
        yield from iter_tagged_parts(reading, markup)


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


def first_content_line(reading: Reading) -> str | None:
    """The first line that is neither blank nor a comment; None where there is none."""
    pieces = (piece for piece in iter_pieces(reading.path) if piece[2])
    return next((text for _, text, _, _ in _without_comments(pieces, TAGS) if text.strip()), None)


def find_text_markup(reading: Reading) -> Markup | None:
    """The markup of a text file; None where it has none.

    Raises:
        DataError: the file cannot be read as text.
    """
    markup = find_marks([line for _, line in iter_heads(reading.path, _LOOKED_AT_LINES)])
    if markup is not None:
        return markup
    survey = LabelSurvey(reading.options)
    for number, text, begins, _ in iter_pieces(reading.path):
        if begins:
            survey.add(number, text)
        if survey.is_over:
            break
    return survey.markup()


def iter_tagged_parts(reading: Reading, markup: Markup = TAGS) -> Iterator[Part]:
    """The conversations of a file of tagged text, one by one; the form is described atop this module.

    Args:
        reading: the file. It is read twice, in flat memory but for the conversation at hand.
        markup: how it is marked.

    Yields:
        Conversations with their turns, and why some are left out; none where the file holds only white space and
        comments.

    Raises:
        DataError: the file cannot be read as text, or has text before the first tag.
    """
    layout = _survey(reading, markup)
    reader = _Reader(reading, markup, layout)
    for piece in _content_pieces(reading, markup):
        yield from reader.read(piece)
    yield from reader.finish()
    for what, count in ((_COMMENTS, reader.comments), (OTHERS, reader.asides)):
        if count:
            reading.summary.dropped[what] += count


class _Reader:
    """Goes over the lines once and hands out each conversation when the next one begins."""

    def __init__(self, reading: Reading, markup: Markup, layout: _Layout) -> None:
        self._path = reading.path
        self._markup = markup
        self._layout = layout
        self._turns: list[MarkedTurn] = []
        self._error: OddError | None = None
        self._size = 0
        self._after_gap = False
        self._after_eos = False
        self._line_end = ""
        self._any = False
        self._open_comments = 0
        self.comments = self.asides = 0

    def read(self, piece: Piece) -> Iterator[Part]:
        """Take in the next line, or a piece of it."""
        number, line, begins, ends = piece
        if begins and self._markup.has_comments and line.lstrip().startswith("#"):
            # Between conversations, comments are what they are meant to be
            self._open_comments += bool(self._turns)
            self.comments += self._take_comments() if not self._after_gap else 0
            return
        if begins and self._markup.has_comments:
            line = _unescaped(line)
        marks = marks_of(self._markup, line, number, begins)
        if begins and self._begins_conversation(line, marks):
            yield from self.finish()
        position = 0
        for mark in marks:
            self._add_text(number, line[position : mark.start])
            position = mark.end
            yield from self._read_mark(number, mark)
        self._add_text(number, line[position:] if position else line)
        if ends:
            self._line_end += "\n"
            self._after_gap = begins and not line.strip()

    def _read_mark(self, number: int, mark: Mark) -> Iterator[Part]:
        if mark.kind in ("role", "other", "aside"):
            self.asides += mark.kind == "aside"
            if mark.role == "system" and not self._layout.has_bos and self._last_role() == "assistant":
                yield from self.finish()
            self._turns.append(MarkedTurn(mark.role, Place(self._path, number), mark.name))
            self._line_end = ""
            self._after_eos = False
            self._any = True
        elif mark.kind == "bos":
            yield from self.finish()
            self._any |= self._layout.has_bos
        else:
            self._after_eos |= mark.kind == "eos"
            if self._turns:
                self._turns[-1].trim()

    def finish(self) -> Iterator[Part]:
        """The conversation at hand, if there is one, or why it is left out."""
        if self._error is not None:
            yield self._error
        elif self._turns:
            yield Dialogue(self._turns[0].place, closed(self._turns), self._markup.name)
        self._turns, self._error, self._size, self._line_end, self._open_comments = [], None, 0, "", 0

    def _begins_conversation(self, line: str, marks: list[Mark]) -> bool:
        layout = self._layout
        if layout.has_bos or _opening_role(line, marks) not in _OPENING_ROLES:
            return False
        if layout.one_per_line or self._markup.each_question_anew:
            return True
        if not (self._after_gap or self._after_eos):
            return False
        return any(turn.role != "system" for turn in self._turns)

    def _take_comments(self) -> int:
        comments, self._open_comments = self._open_comments, 0
        return comments

    def _last_role(self) -> Role | None:
        return self._turns[-1].role if self._turns else None

    def _add_text(self, number: int, text: str) -> None:
        if self._turns:
            if text:
                self.comments += self._take_comments() if text.strip() else 0
                # Not before there is text after it, so that the text of a turn on one line is not copied for it
                self._turns[-1].add(self._line_end)
                self._turns[-1].add(text)
                self._line_end = ""
                self._size += len(text)
                if self._size > LONGEST_LINE:
                    what = f"a conversation of more than {LONGEST_LINE:,} characters; part it into shorter ones"
                    self._error = OddError(self._turns[0].place, what)
                    self._turns[-1] = MarkedTurn(self._turns[-1].role, self._turns[-1].place)
                    self._size = 0
        elif text.strip() and self._error is None:
            place = Place(self._path, number)
            problem = "text before the first <user> or <system> tag; put a tag before it"
            if not self._any:
                raise place.error(problem)
            self._error = OddError(place, problem)


def _survey(reading: Reading, markup: Markup) -> _Layout:
    layout = _Layout()
    blank = False
    opens = replies = tagged = False
    for number, text, begins, ends in _without_comments(_content_pieces(reading, markup), markup):
        if begins and ends and not text.strip():
            blank = True
            continue
        layout.has_gap |= blank and not layout.empty
        layout.empty = blank = False
        marks = marks_of(markup, text, number, begins)
        kinds = [mark.kind for mark in marks]
        layout.has_bos |= "bos" in kinds
        layout.has_eos |= "eos" in kinds
        if begins:
            opens, replies, tagged = _opening_role(text, marks) in _OPENING_ROLES, False, False
        tagged |= "role" in kinds
        replies |= any(mark.role == "assistant" for mark in marks)
        if ends and tagged:
            layout.tagged_lines_are_whole &= opens and replies
    return layout


def _opening_role(line: str, marks: list[Mark]) -> Role | None:
    """The role whose tag the line begins with."""
    begins = bool(marks) and not line[: marks[0].start].strip()
    return marks[0].role if begins else None


def _content_pieces(reading: Reading, markup: Markup) -> Iterator[Piece]:
    """The lines; of one in pieces, what may be the beginning of a mark goes over to the next piece."""
    held = ""
    for piece in iter_pieces(reading.path):
        number, text, begins, ends = piece
        if begins and ends:
            yield piece
            continue
        text = held + text
        cut = len(text)
        if not ends and not markup.only_at_begin:
            found = max(text.rfind(sign, len(text) - _LONGEST_MARK) for sign in "<[#")
            cut = found if found > 0 else cut
        held = text[cut:]
        yield number, text[:cut], begins, ends


def _without_comments(pieces: Iterator[Piece], markup: Markup) -> Iterator[Piece]:
    """The lines that are no comments."""
    for piece in pieces:
        if not (markup.has_comments and piece[2] and piece[1].lstrip().startswith("#")):
            yield piece


def _unescaped(line: str) -> str:
    """A line without the backslash of an escaped '#'."""
    text = line.lstrip()
    return line[: len(line) - len(text)] + text[1:] if _ESCAPED_HASH.match(text) else line
