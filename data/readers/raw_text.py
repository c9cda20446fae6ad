"""Raw text as documents for pre-training. Nothing in it is structure but what parts the documents.

Lines `<|endoftext|>` part documents, if there is one. Otherwise such marks at the ends of lines do, and otherwise blank
lines, unless they part the paragraphs of running prose. The user may say something else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from tinylm.data.readers.forms import TEXT_SUFFIXES, Reader, Reading
from tinylm.data.readers.lines import Place, iter_pieces
from tinylm.data.readers.options import BLANK_LINES, WHOLE_FILE
from tinylm.data.readers.prose import ProseSurvey
from tinylm.data.readers.read_summary import ReadSummary
from tinylm.data.readers.turns import Document, Part

END_OF_TEXT = "<|endoftext|>"
# So many parts that holding one out is holding out little
LONGEST_DOCUMENT, PART = 16_000_000, 250_000

_MARK = re.compile(r"<\|(?:startoftext|start_of_text|begin_of_text|endoftext|end_of_text)\|>")
_OTHER_END = re.compile(r"(?:</s>|\[EOS\]|<eos>|\[SEP\])\s*\Z", re.IGNORECASE)
_INSIDE_LINES = f"lines with {END_OF_TEXT} or the like inside, which is learnt as text"
_INSIDE_TEXTS = f"texts with {END_OF_TEXT} or the like inside, which is learnt as text"
_SOME_MARKS, _SOME_ENDS = 2, 3
_LONGEST_WORD = 1000


class RawTextReader(Reader):
    """Text files as documents."""

    suffixes = TEXT_SUFFIXES

    def claims(self, reading: Reading) -> bool:
        """Whether documents are wanted: any text is that."""
        return reading.documents

    def parts(self, reading: Reading) -> Iterator[Part]:
        """The documents of the file."""
        place = Place(reading.path, 1)
        for text in iter_raw_documents(reading):
            yield Document(place, text, "raw text")


def iter_raw_documents(reading: Reading) -> Iterator[str]:
    """The documents of a raw text file, one by one, as the module says.

    One that is too long to be held is handed out in parts that end with a line, or where a line is too long itself,
    with a word.

    Args:
        reading: the file. It is read twice, in flat memory but for the document at hand.

    Yields:
        The text of a document without outer white space. Empty documents are skipped.

    Raises:
        DataError: the file cannot be read as text.
    """
    separator = _find_separator(reading)
    document = _OpenDocument(reading)
    line, add, marks = separator.line, document.add, 0
    for _, text, begins, ends in iter_pieces(reading.path):
        marked = "<|" in text
        if begins and ends and (marked or line != END_OF_TEXT) and text.strip() == line:
            yield from document.finish()
            continue
        if marked and (found := list(_MARK.finditer(text))):
            if separator.marks:
                begin = 0
                for mark in found:
                    add(text[begin : mark.start()], ends)
                    yield from document.finish()
                    begin = mark.end()
                text = text[begin:]
            else:
                marks += 1
        if add(text, ends):
            yield from document.overflow()
    yield from document.finish()
    if marks:
        reading.summary.remarks[_INSIDE_LINES] += marks


def split_at_marks(text: str, summary: ReadSummary) -> list[str]:
    """A text of a record, parted at marks of the beginning and the end of texts, without them."""
    if "<|" not in text or not (found := list(_MARK.finditer(text))):
        return [text]
    if not _at_an_end(text, found) and len(found) < _SOME_MARKS:
        summary.remarks[_INSIDE_TEXTS] += 1
        return [text]
    return [part for part in _MARK.split(text) if part.strip()] or [""]


@dataclass(frozen=True)
class _Separator:
    """What parts documents: lines of this text, blank ones if it is empty, none if it is None; or marks in lines."""

    line: str | None
    marks: bool = False


@dataclass(slots=True)
class _OpenDocument:
    """The lines of a document as they come."""

    reading: Reading
    _held: list[str] = field(default_factory=list)
    _size: int = 0
    _limit: int = field(default_factory=lambda: LONGEST_DOCUMENT)
    _goes_on: bool = False

    def add(self, text: str, ends: bool) -> bool:
        """Take in a line, or a piece of one; True where the document becomes too long to be held."""
        if not self._goes_on:
            self._held.append(text)
        elif self._held:
            self._held[-1] += text
        else:
            self._held.append(text)
        self._goes_on = not ends
        self._size += len(text) + 1
        return self._size > self._limit

    def overflow(self) -> Iterator[str]:
        """The parts of a document that is too long, as far as it was taken in."""
        self.reading.summary.note(
            f"a document of more than {LONGEST_DOCUMENT:,} characters comes in parts of some {PART:,}"
        )
        rest = ""
        if self._goes_on:
            # A word that goes on is not cut
            last = self._held[-1]
            rest = last[last.rfind(" ", max(0, len(last) - _LONGEST_WORD)) + 1 :][-_LONGEST_WORD:]
            self._held[-1] = last[: len(last) - len(rest)]
        for part in _parts(self._held):
            yield from _stripped(part)
        self._held, self._size, self._limit = [rest] if rest else [], len(rest), PART

    def finish(self) -> Iterator[str]:
        """The document, or its last part."""
        yield from _stripped(self._held)
        self._held, self._size, self._limit, self._goes_on = [], 0, LONGEST_DOCUMENT, False


def _find_separator(reading: Reading) -> _Separator:
    said, summary = reading.options.documents, reading.summary
    if said == WHOLE_FILE:
        return _Separator(None)
    if said is not None and said != BLANK_LINES:
        line = said.strip()
        if not any(begins and ends and text.strip() == line for _, text, begins, ends in iter_pieces(reading.path)):
            summary.note(f"no line is {line!r}: the file is one document")
        return _Separator(line)
    layout = _Layout(ProseSurvey(reading.suffix == ".md"))
    for _, text, begins, ends in iter_pieces(reading.path):
        if begins and ends and "<|" in text and text.strip() == END_OF_TEXT:
            return _Separator(END_OF_TEXT)
        layout.add(text, begins, ends)
    if layout.marks_part:
        summary.note(f"{END_OF_TEXT} or the like inside lines parts the documents")
        return _Separator(None, marks=True)
    if layout.other_ends >= _SOME_ENDS:
        summary.remarks["lines that end with a mark such as </s>, which is learnt as text"] += layout.other_ends
    if said == BLANK_LINES or layout.prose.blocks < 2:
        return _Separator("")
    if layout.prose.is_prose:
        summary.note(
            f"read as one text: its {layout.prose.blocks:,} paragraphs are no documents of their own "
            "(if they are, say --documents blank-lines)"
        )
        return _Separator(None)
    summary.note(
        f"blank lines part it into {layout.prose.blocks:,} documents of {layout.prose.median_length:,} characters "
        "(median); if it is one text, say --documents file"
    )
    return _Separator("")


@dataclass
class _Layout:
    """What is seen of a file before it is read."""

    prose: ProseSurvey
    marks: int = 0
    marks_at_ends: int = 0
    other_ends: int = 0

    def add(self, text: str, begins: bool, ends: bool) -> None:
        """Take in a line, or a piece of one."""
        self.prose.add(text, begins, ends)
        if "<|" in text and (found := list(_MARK.finditer(text))):
            self.marks += len(found)
            self.marks_at_ends += _at_an_end(text, found)
        if text[-1:] in (">", "]", " ") and text.rstrip().endswith((">", "]")):
            self.other_ends += _OTHER_END.search(text[-20:]) is not None

    @property
    def marks_part(self) -> bool:
        """Whether marks inside lines part documents: they stand at ends of lines, or one follows another."""
        return self.marks_at_ends > 0 or self.marks >= _SOME_MARKS


def _at_an_end(text: str, found: list[re.Match[str]]) -> bool:
    """Whether a text begins or ends with a mark."""
    return not text[: found[0].start()].strip() or not text[found[-1].end() :].strip()


def _parts(lines: list[str]) -> Iterator[list[str]]:
    part: list[str] = []
    size = 0
    for line in lines:
        for start, stop in _cuts(line):
            part.append(line[start:stop])
            size += stop - start + 1
            if size > PART:
                yield part
                part, size = [], 0
    yield part


def _cuts(line: str) -> Iterator[tuple[int, int]]:
    """Where a line is cut: not at all, or near a space after each `PART` characters."""
    start = 0
    while len(line) - start > 2 * PART:
        space = line.rfind(" ", start + PART // 2, start + PART)
        stop = space + 1 if space > 0 else start + PART
        yield start, stop
        start = stop
    yield start, len(line)


def _stripped(lines: list[str]) -> Iterator[str]:
    text = "\n".join(lines).strip()
    if text:
        yield text
