"""Text files with a dialogue a line, its turns set apart by a separator that is found by looking at the file.

Known separators are `__eou__`, `|||`, `||`, `</s>`, `<sep>`, `[SEP]`, `<eou>`, `<eot>` and the tab. The one that is in
nearly every line is it; two of them, or one that is in most lines only, is unclear and refused. Where `__eot__` ends
turns, `__eou__` ends sentences in them. Numbered lines that begin again at 1 are ParlAI's form (Persona-Chat): two
turns a line, `your persona:` before them, candidates after them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from os import PathLike

from tinylm.data.readers.forms import TEXT_SUFFIXES, Reader, Reading
from tinylm.data.readers.lines import Place, iter_lines, iter_pieces
from tinylm.data.readers.prompt_response import KNOWN_ASK_KEYS, KNOWN_REPLY_KEYS
from tinylm.data.readers.record_values import normal_key
from tinylm.data.readers.turns import Dialogue, Part, Turn, alternating
from tinylm.errors import DataError

_SEPARATORS = {
    "__eot__": re.compile(r"__eot__"),
    "__eou__": re.compile(r"__eou__"),
    "|||": re.compile(r"\|\|\|"),
    "||": re.compile(r"(?<!\|)\|\|(?!\|)"),
    "</s>": re.compile(r"</s>"),
    "<sep>": re.compile(r"<\|?sep\|?>", re.IGNORECASE),
    "[SEP]": re.compile(r"\[SEP\]"),
    "<eou>": re.compile(r"<eou>", re.IGNORECASE),
    "<eot>": re.compile(r"<eot>", re.IGNORECASE),
    "tab": re.compile(r"\t"),
}
_FIELDS = " +++$+++ "
_NEARLY_ALL, _MOST = 0.95, 0.5
_NUMBERED = re.compile(r"(\d+) (.*)", re.DOTALL)
_PERSONA = re.compile(r"your persona: *(.*)|partner's persona: *.*", re.IGNORECASE)
_NO_TURN = re.compile(r"[\d\s.,:;/_-]*|[a-z_]{1,20}:.*", re.IGNORECASE)
_PARLAI = "ParlAI"


class SeparatedReader(Reader):
    """Text files with a dialogue a line."""

    suffixes = TEXT_SUFFIXES

    def claims(self, reading: Reading) -> bool:
        """Whether something parts the turns in nearly every line, where conversations are wanted.

        Raises:
            DataError: it is unclear what parts the turns.
        """
        return not reading.documents and find_separator(reading.path) is not None

    def parts(self, reading: Reading) -> Iterator[Part]:
        """The dialogues."""
        separator = find_separator(reading.path)
        assert separator is not None
        if separator == _PARLAI:
            yield from _parlai_dialogues(reading.path)
        else:
            yield from _separated_dialogues(reading, separator)


def find_separator(path: str | PathLike[str]) -> str | None:
    """What parts the turns in a file with a dialogue a line; None where the file is of another form.

    Raises:
        DataError: the file cannot be read as text, or it is unclear what parts the turns.
    """
    seen = _Seen()
    for number, line, begins, _ in iter_pieces(path):
        if begins and line.strip():
            seen.add(number, line)
    lines, counts = seen.lines, seen.counts
    if not lines:
        return None
    if seen.numbered == lines and lines > 1 and counts["tab"]:
        return _PARLAI
    found = [name for name in _SEPARATORS if counts[name] >= _NEARLY_ALL * lines]
    if "__eot__" in found:
        return "__eot__"
    if len(found) > 1:
        raise DataError(
            path, 1, f"unclear what parts the turns: {' and '.join(found)} are both in every line; keep one"
        )
    if 2 * seen.fields > lines or (found == ["tab"] and 2 * seen.no_turns > counts["tab"]):
        raise DataError(path, 1, "lines of fields, not of turns; put the columns' names on top and name the file .tsv")
    if found == ["tab"] and lines > 1 and seen.three_columns == lines:
        how = "put names on top, such as prompt, response, note, and name the file .tsv"
        raise DataError(path, 1, f"three columns in every line, of which two are turns; {how}")
    if found:
        return found[0]
    # Tabs are in many a text that is no dialogue
    del counts["tab"]
    name, count = counts.most_common(1)[0] if counts else ("", 0)
    if count > _MOST * lines:
        problem = f"no {name} in this line, but in {count:,} of {lines:,}: unclear whether it parts turns"
        raise DataError(path, seen.first_without[name], problem)
    return None


class _Seen:
    """What is in the lines of a file."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.first_without: dict[str, int] = {}
        self.lines = self.numbered = self.no_turns = self.fields = self.three_columns = 0

    def add(self, number: int, line: str) -> None:
        """Take in a line that is not blank."""
        self.lines += 1
        self.fields += _FIELDS in line
        self.numbered += _NUMBERED.fullmatch(line) is not None if self.lines > 1 else line.startswith("1 ")
        for name, pattern in _SEPARATORS.items():
            if pattern.search(line):
                self.counts[name] += 1
            else:
                self.first_without.setdefault(name, number)
        if "\t" in line:
            cells = line.split("\t")
            self.no_turns += any(_NO_TURN.fullmatch(cell) for cell in cells[:2])
            self.three_columns += len(cells) == 3 and bool(cells[2].strip())


def _separated_dialogues(reading: Reading, separator: str) -> Iterator[Dialogue]:
    pattern = _SEPARATORS[separator]
    form = f"a dialogue a line, parted by {separator}"
    first = True
    for number, line in iter_lines(reading.path):
        if not line.strip():
            continue
        if separator == "</s>":
            line = line.replace("<s>", "")
        turns = [turn.replace("__eou__", "\n") if separator == "__eot__" else turn for turn in pattern.split(line)]
        if not turns[-1].strip():
            turns.pop()
        place = Place(reading.path, number)
        if first and _are_names(turns):
            reading.summary.note("its first line has the names of columns: it is no dialogue")
        else:
            yield Dialogue(place, alternating(place, turns), form)
        first = False


def _are_names(cells: list[str]) -> bool:
    """Whether the first line of a file names a question and a reply."""
    keys = {normal_key(cell) for cell in cells}
    return not (keys.isdisjoint(KNOWN_ASK_KEYS) or keys.isdisjoint(KNOWN_REPLY_KEYS))


def _parlai_dialogues(path: str | PathLike[str]) -> Iterator[Dialogue]:
    begin, personas, turns = Place(path, 1), list[str](), list[Turn]()

    def close() -> Iterator[Dialogue]:
        if turns:
            yield Dialogue(begin, [Turn("system", "\n".join(personas), begin), *turns], "ParlAI's dialogues")

    for number, line in iter_lines(path):
        match = _NUMBERED.fullmatch(line)
        if match is None:
            continue
        place = Place(path, number)
        if match[1] == "1":
            yield from close()
            begin, personas, turns = place, [], []
        persona = _PERSONA.match(match[2])
        if persona is None:
            turns += alternating(place, match[2].split("\t")[:2])
        elif persona[1]:
            personas.append(persona[1])
    yield from close()
