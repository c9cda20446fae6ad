"""Parquet files as a stream of rows, a batch of a row group at a time. Needs pyarrow, of the extra `parquet`."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike, fspath

from tinylm.data.readers.lines import Place
from tinylm.data.readers.sources import check_regular, head_of, optional_module
from tinylm.errors import DataError

MAGIC = b"PAR1"
_ROWS_AT_ONCE = 512


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
                for row in batch.to_pylist():
                    number += 1
                    yield Place(path, number), row
    except FileNotFoundError:
        raise DataError(path, None, "no such file; check the path") from None
    except PermissionError:
        raise DataError(path, None, "no permission to read it; change its permissions") from None
    except OSError as error:
        raise DataError(path, None, f"cannot be read ({_first_line(error)}); is it cut short?") from None
    except ValueError as error:
        if not isinstance(error, pyarrow.lib.ArrowException):
            raise
        raise DataError(path, None, f"broken Parquet ({_first_line(error)}); write it anew") from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or ["unknown"])[0]
