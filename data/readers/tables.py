"""CSV and TSV as a stream of rows, each an object of its columns, in flat memory.

The first line names the columns; the comma, semicolon, tab or bar that parts most names in it parts the cells. A lone
column may go without a name. A TSV whose quotation marks cannot be those of cells is read without quoting.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from os import PathLike
from threading import Lock

from tinylm.data.readers.lines import Place, iter_lines
from tinylm.data.readers.read_summary import ReadSummary
from tinylm.data.readers.record_values import shown
from tinylm.data.readers.records import is_record, is_text_column
from tinylm.errors import DataError

_DELIMITERS = {",": "CSV", ";": "CSV with semicolons", "\t": "TSV", "|": "CSV with bars"}
# The csv module's own limit is 128 kB a cell; a C long holds no more than this everywhere
_CELL_LIMIT = 2**31 - 1
_LIMIT_LOCK = Lock()
_LONGEST_NAME = 40


def iter_table_rows(path: str | PathLike[str], tabs: bool, summary: ReadSummary) -> Iterator[tuple[Place, object]]:
    """The rows of a CSV or TSV file.

    Args:
        path: a text file.
        tabs: whether tabs part the cells, as the file's name says.
        summary: told the kind of table, and how a lone column was understood.

    Yields:
        Where the row begins, and its cells by their columns. Rows without any text are left out.

    Raises:
        DataError: the file cannot be read as text, a quotation mark is never closed, or a row has more or fewer cells
            than the first one.
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
        raise first_place.error(f"two columns are named {shown(repeated)}; rename one")
    for cells, place in rows:
        if any(cell.strip() for cell in cells):
            yield place, _row(place, names, cells)


def looks_like_table(path: str | PathLike[str]) -> bool:
    """Whether the first line of a file is that of a table with columns that are known by name."""
    try:
        _, header = _first_line(path)
        if header is None or len(header) > 10_000:
            return False
        names = next(csv.reader([header], delimiter=_delimiter_of(header)))
        return len(names) > 1 and is_record(dict.fromkeys(names, "x"))
    except (DataError, csv.Error, StopIteration):
        return False


class _Rows:
    """The rows of the csv module, each with the place where it begins."""

    def __init__(self, path: str | PathLike[str], header_line: int, delimiter: str, quoting: int) -> None:
        self._path = path
        lines = (line + "\n" for number, line in iter_lines(path) if number >= header_line)
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
            problem = (
                "a quotation mark is never closed; is the file cut short?"
                if "end of data" in str(error)
                else f"broken quoting ({error}); write a quotation mark inside a cell twice"
            )
            raise place.error(problem) from None


def _next_row(reader: Iterator[list[str]]) -> list[str]:
    """The next row, with cells of any length.

    The limit of the csv module is one for the whole process, so it is raised for this row only.
    """
    with _LIMIT_LOCK:
        limit = csv.field_size_limit(_CELL_LIMIT)
        try:
            return next(reader)
        finally:
            csv.field_size_limit(limit)


def _row(place: Place, names: list[str], cells: list[str]) -> dict[str, str]:
    while len(cells) > len(names) and not cells[-1].strip():
        cells.pop()
    if len(cells) != len(names):
        hint = "put quotation marks around cells that hold the separator or a line end"
        raise place.error(f"{len(cells)} cells where the first line has {len(names)} columns; {hint}")
    return {name: cell for name, cell in zip(names, cells, strict=True) if name or cell.strip()}


def _first_line(path: str | PathLike[str]) -> tuple[int, str | None]:
    for number, line in iter_lines(path):
        if line.strip() and not line.startswith("sep="):
            return number, line
    return 1, None


def _delimiter_of(header: str) -> str:
    def columns(delimiter: str) -> int:
        return len(_next_row(csv.reader([header], delimiter=delimiter)))

    return max(_DELIMITERS, key=columns)


def _is_unquoted(path: str | PathLike[str]) -> bool:
    """Whether some cell begins with a quotation mark that does not end it, while all lines have as many cells."""
    columns, stray = -1, False
    for _, line in iter_lines(path):
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
