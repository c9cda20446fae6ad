"""CSV and TSV as a stream of rows, each an object of its columns, in flat memory.

The first line names the columns; the comma, semicolon, tab or bar that parts most names in it parts the cells. A lone
column may go without a name. A TSV whose quotation marks cannot be those of cells is read without quoting.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from os import PathLike
from threading import Lock
from typing import ClassVar

from tinylm.data.readers.forms import TEXT_SUFFIXES, Reader, Reading, Record
from tinylm.data.readers.lines import Place, iter_heads, iter_lines, iter_pieces
from tinylm.data.readers.messages import TEXT_KEYS
from tinylm.data.readers.people_records import PERSON_KEYS
from tinylm.data.readers.prompt_response import KNOWN_ASK_KEYS, KNOWN_REPLY_KEYS
from tinylm.data.readers.read_summary import ReadSummary
from tinylm.data.readers.record_keys import dialogue_columns, is_conversation_key, is_record, is_text_column
from tinylm.data.readers.record_values import normal_key, shown
from tinylm.data.readers.records import parts_of_records
from tinylm.data.readers.turns import OddError, Part
from tinylm.errors import DataError

_DELIMITERS = {",": "CSV", ";": "CSV with semicolons", "\t": "TSV", "|": "CSV with bars"}
_LONGEST_ROW = 120_000_000
_LIMIT_LOCK = Lock()
_TAB_SUFFIXES = (".tsv", ".tab")
_LONGEST_NAME, _LONGEST_HEADER, _SHOWN_NAMES = 40, 10_000, 4
_TAKEN_FOR_NAMES = "the first line is taken for the columns' names"
_NAME_THEM = "put a line of names on top, such as prompt,response or text"


class TableReader(Reader):
    """CSV and TSV."""

    suffixes: ClassVar[tuple[str, ...]] = (".csv", *_TAB_SUFFIXES)

    def claims(self, reading: Reading) -> bool:
        """Whether its name says so, or under an unknown name its first line has names of columns that are known."""
        return reading.suffix in self.suffixes or looks_like_table(reading.path)

    def parts(self, reading: Reading) -> Iterator[Part]:
        """What the rows hold.

        Raises:
            DataError: the names of the columns tell nothing.
        """
        rows = iter_table_rows(reading.path, reading.suffix in _TAB_SUFFIXES, reading.summary)
        yield from parts_of_records(_checked(rows, reading), reading)


class NamedColumnsReader(TableReader):
    """Text files whose first line has names of columns that are known, where conversations are wanted."""

    suffixes = TEXT_SUFFIXES

    def claims(self, reading: Reading) -> bool:
        """Whether the first line names a question and a reply, and most lines have as many cells."""
        if reading.documents:
            return False
        heads = [line for _, line in iter_heads(reading.path, 20) if line.strip()]
        if not heads or not looks_like_table(reading.path) or len(heads[0]) > _LONGEST_HEADER:
            return False
        delimiter = _delimiter_of(heads[0])
        names = {normal_key(name) for name in heads[0].split(delimiter)}
        # Names of columns in a sentence are words
        if names.isdisjoint(KNOWN_ASK_KEYS) or names.isdisjoint(KNOWN_REPLY_KEYS):
            return False
        return 2 * sum(delimiter in line for line in heads) > len(heads)

    def parts(self, reading: Reading) -> Iterator[Part]:
        """What the rows hold."""
        reading.summary.note("read as a table: its first line has the names of columns")
        yield from super().parts(reading)


def iter_table_rows(path: str | PathLike[str], tabs: bool, summary: ReadSummary) -> Iterator[tuple[Place, object]]:
    """The rows of a CSV or TSV file.

    Args:
        path: a text file.
        tabs: whether tabs part the cells, as the file's name says.
        summary: told the kind of table, and how a lone column was understood.

    Yields:
        Where the row begins, and its cells by their columns; an `OddError` for a row with more or fewer cells than the
        first one. Rows without any text are left out.

    Raises:
        DataError: the file cannot be read as text, or a quotation mark is never closed.
    """
    header_line, header = _first_line(path)
    if header is None:
        return
    delimiter = "\t" if tabs else _delimiter_of(header)
    quoting = csv.QUOTE_NONE if delimiter == "\t" and _is_unquoted(path) else csv.QUOTE_MINIMAL
    summary.container = _DELIMITERS[delimiter]
    rows = _Rows(path, header_line, delimiter, quoting)
    names, first_place = next(rows)
    names = [name.strip() for name in names]
    if len(names) == 1 and not _is_name(names[0]):
        summary.note("its one column has no name on top: every row is a text")
        yield first_place, {"text": names[0]}
        names = ["text"]
    elif len(names) == 1 and not is_text_column(names[0]):
        summary.note(f"its one column is {shown(names[0])}: every row is a text")
        names = ["text"]
    repeated = next((name for name in names if name and names.count(name) > 1), None)
    if repeated is not None:
        raise first_place.error(f"two columns are named {shown(repeated)}; rename one ({_TAKEN_FOR_NAMES})")
    for cells, place in rows:
        if any(cell.strip() for cell in cells):
            if [cell.strip() for cell in cells] == names:
                yield place, OddError(place, "the names of the columns once more; take the line out")
            else:
                yield place, _row(place, names, cells)


def looks_like_table(path: str | PathLike[str]) -> bool:
    """Whether the first line of a file is that of a table with columns that are known by name."""
    try:
        _, header = _first_line(path)
        if header is None or len(header) > _LONGEST_HEADER:
            return False
        names = next(csv.reader([header], delimiter=_delimiter_of(header)))
        return len(names) > 1 and is_record(dict.fromkeys(names, "x"))
    except (DataError, csv.Error, StopIteration):
        return False


def _checked(rows: Iterator[tuple[Place, object]], reading: Reading) -> Iterator[tuple[Place, object]]:
    """The rows, if some form knows their columns.

    Raises:
        DataError: none does, so that the first line may be no names.
    """
    checked = False
    for place, row in rows:
        if not checked and isinstance(row, dict):
            if not _has_known_names(row, reading):
                found = ", ".join(shown(name) for name in list(row)[:_SHOWN_NAMES])
                problem = f"{_TAKEN_FOR_NAMES}, and none of them is known: {found}; {_NAME_THEM}"
                raise DataError(reading.path, 1, problem)
            checked = True
        yield place, row


def _has_known_names(row: dict[str, object], reading: Reading) -> bool:
    record = Record.of(Place(reading.path, 1), dict.fromkeys(row, "x"), reading)
    keys = record.fields.keys()
    if any(map(is_conversation_key, keys)) or not (keys.isdisjoint(PERSON_KEYS) or keys.isdisjoint(TEXT_KEYS)):
        return True
    if not any(form.claims(record) for form in reading.forms):
        return False
    # A sentence with the word "chat" in it is no name of a column of chats
    data_like = any(name.count(" ") > 2 or name.endswith((".", "?", "!")) for name in row)
    return not (data_like and dialogue_columns(record.fields))


class _Rows:
    """The rows of the csv module, each with the place where it begins."""

    def __init__(self, path: str | PathLike[str], header_line: int, delimiter: str, quoting: int) -> None:
        self._path = path
        lines = (line + "\n" for number, line in iter_lines(path, _LONGEST_ROW) if number >= header_line)
        self._skipped_lines = header_line - 1
        # Strict, or else a quotation mark that is never closed would swallow the rest of the file
        self._reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)  # type: ignore[arg-type]

    def __iter__(self) -> _Rows:
        return self

    def __next__(self) -> tuple[list[str], Place]:
        place = Place(self._path, self._skipped_lines + self._reader.line_num + 1)
        try:
            return _next_row(self._reader), place
        except csv.Error as error:
            if "end of data" in str(error):
                problem = "a quotation mark is never closed; is the file cut short?"
            elif "field limit" in str(error):
                problem = f"a cell of more than {_LONGEST_ROW:,} characters; is a quotation mark never closed?"
            else:
                problem = f"broken quoting ({error}); write a quotation mark inside a cell twice"
            raise place.error(problem) from None


def _next_row(reader: Iterator[list[str]]) -> list[str]:
    """The next row, with cells as long as a line may be.

    The limit of the csv module is one for the whole process, so it is raised for this row only.
    """
    with _LIMIT_LOCK:
        limit = csv.field_size_limit(_LONGEST_ROW)
        try:
            return next(reader)
        finally:
            csv.field_size_limit(limit)


def _row(place: Place, names: list[str], cells: list[str]) -> dict[str, str] | OddError:
    while len(cells) > len(names) and not cells[-1].strip():
        cells.pop()
    if len(cells) != len(names):
        hint = "put quotation marks around cells that hold the separator or a line end"
        return OddError(place, f"{len(cells)} cells where the first line has {len(names)} columns; {hint}")
    return {name: cell for name, cell in zip(names, cells, strict=True) if name or cell.strip()}


def _first_line(path: str | PathLike[str]) -> tuple[int, str | None]:
    for number, line, begins, _ in iter_pieces(path):
        if begins and line.strip() and not line.startswith("sep="):
            return number, line
    return 1, None


def _delimiter_of(header: str) -> str:
    def columns(delimiter: str) -> int:
        try:
            return len(_next_row(csv.reader([header[:_LONGEST_HEADER]], delimiter=delimiter)))
        except (csv.Error, StopIteration):
            return 0

    return max(_DELIMITERS, key=columns)


def _is_unquoted(path: str | PathLike[str]) -> bool:
    """Whether some cell begins with a quotation mark that does not end it, while all lines have as many cells."""
    columns, stray = -1, False
    for _, line in iter_lines(path, _LONGEST_ROW):
        if not line.strip():
            continue
        cells = line.split("\t")
        if columns < 0:
            columns = len(cells)
        if len(cells) != columns:
            return False
        stray |= any(cell.startswith('"') and (len(cell) < 2 or not cell.endswith('"')) for cell in cells)
    return stray


def _is_name(cell: str) -> bool:
    """Whether the first cell of a lone column is its name: short, and no sentence."""
    return 0 < len(cell) <= _LONGEST_NAME and cell.count(" ") < 3 and not cell.endswith((".", "!", "?"))
