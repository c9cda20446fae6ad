"""Parquet files as a stream of rows, a batch of a row group at a time. Needs pyarrow, of the extra `parquet`."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike, fspath
from typing import Any

from tinylm.data.readers.forms import Reader, Reading
from tinylm.data.readers.lines import Place
from tinylm.data.readers.records import parts_of_records
from tinylm.data.readers.sources import check_regular, compression_of, head_of, iter_bytes, optional_module
from tinylm.data.readers.turns import Part
from tinylm.errors import DataError

MAGIC = b"PAR1"
_ROWS_AT_ONCE = 512


class ParquetReader(Reader):
    """Parquet, told by its first bytes."""

    suffixes = (".parquet", ".pq")
    under_any_name = True

    def claims(self, reading: Reading) -> bool:
        """Whether the file begins as Parquet does.

        Raises:
            DataError: its name says so, and it does not.
        """
        if is_parquet(reading.path):
            return True
        if reading.suffix not in self.suffixes:
            return False
        if compression_of(reading.path) is not None:
            raise DataError(reading.path, None, "Parquet is packed inside; unpack the file around it")
        # What is wrong with a file that cannot be opened, this says
        next(iter_bytes(reading.path), None)
        raise DataError(reading.path, None, "is not Parquet, whatever its name says; name it by what it is")

    def parts(self, reading: Reading) -> Iterator[Part]:
        """What the rows hold."""
        reading.summary.container, reading.summary.encoding, reading.summary.compression = "Parquet", "", None
        yield from parts_of_records(iter_parquet_rows(reading.path), reading)


def is_parquet(path: str | PathLike[str]) -> bool:
    """Whether a file begins as Parquet does; False where it cannot be opened."""
    return head_of(path).startswith(MAGIC)


def iter_parquet_rows(path: str | PathLike[str]) -> Iterator[tuple[Place, object]]:
    """The rows of a Parquet file, each an object of its columns; its place is the number of the row, from 1.

    Raises:
        DataError: the file cannot be read, or pyarrow is missing.
    """
    try:
        check_regular(path)
        pyarrow = optional_module(path, ("pyarrow",), "parquet")
        parquet = optional_module(path, ("pyarrow.parquet",), "parquet")
        with parquet.ParquetFile(fspath(path), pre_buffer=False) as file:
            number = 0
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, use_threads=False):
                for row in _rows(path, number + 1, batch):
                    number += 1
                    yield Place(path, number), row
    except FileNotFoundError:
        raise DataError(path, None, "no such file; check the path") from None
    except PermissionError:
        raise DataError(path, None, "no permission to read it; change its permissions") from None
    except OSError as error:
        raise DataError(path, None, f"cannot be read ({_first_line(error)}); is it cut short?") from None
    except UnicodeDecodeError:
        raise DataError(path, None, "broken Parquet (a name of a column is not UTF-8); write it anew") from None
    except ValueError as error:
        if not isinstance(error, pyarrow.lib.ArrowException):
            raise
        raise DataError(path, None, f"broken Parquet ({_first_line(error)}); write it anew") from None


def _rows(path: str | PathLike[str], number: int, batch: Any) -> list[dict[str, object]]:
    """The rows of a batch whose first one has this number.

    Raises:
        DataError: a value of them is none that Python has, such as a text that is not UTF-8.
    """
    try:
        rows: list[dict[str, object]] = batch.to_pylist()
    except UnicodeDecodeError:
        raise DataError(path, number, "a text in or after this row is not UTF-8; write the file anew") from None
    except (ValueError, OverflowError) as error:
        problem = f"a value in or after this row cannot be read ({_first_line(error)}); write the file anew"
        raise DataError(path, number, problem) from None
    return rows


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or ["unknown"])[0]
