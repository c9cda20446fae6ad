"""All forms, in the order in which they are asked: the one place where a reader is registered.

Those of other packages, which name them as entry points of the group `tinylm.readers`, come first.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

from tinylm.data.readers import record_forms as records
from tinylm.data.readers.chat_logs import DatedLogReader, UndatedLogReader
from tinylm.data.readers.forms import Reader, Reading, RecordForm
from tinylm.data.readers.json_values import JsonReader
from tinylm.data.readers.line_dialogues import SeparatedReader
from tinylm.data.readers.parquet import ParquetReader
from tinylm.data.readers.raw_text import RawTextReader
from tinylm.data.readers.refused import RefusedText
from tinylm.data.readers.tables import NamedColumnsReader, TableReader
from tinylm.data.readers.tagged import MarkedTextReader
from tinylm.data.readers.yaml_values import YamlReader
from tinylm.errors import TinyLMError

GROUP = "tinylm.readers"
"""The group of entry points by which other packages add readers."""

READERS: tuple[Reader, ...] = (
    ParquetReader(),
    RefusedText(),
    YamlReader(),
    JsonReader(),
    TableReader(),
    DatedLogReader(),
    MarkedTextReader(),
    NamedColumnsReader(),
    SeparatedReader(),
    UndatedLogReader(),
    RawTextReader(),
)

RECORD_FORMS: tuple[RecordForm, ...] = (
    records.WantedText(),
    records.ExportTree(),
    records.NestedTree(),
    records.Conversations(),
    records.Messages(),
    records.WholeChoice(),
    records.QuestionAndReply(),
    records.Choice(),
    records.NumberedColumns(),
    records.DialogueColumn(),
    records.Text(),
    records.DictOfConversations(),
    records.RecordsUnderAKey(),
    records.RecordUnderAKey(),
    records.NullRecord(),
)


@cache
def readers() -> tuple[Reader, ...]:
    """The forms of file."""
    return (*(added for added in _added() if isinstance(added, Reader)), *READERS)


@cache
def record_forms() -> tuple[RecordForm, ...]:
    """The forms of record."""
    return (*(added for added in _added() if isinstance(added, RecordForm)), *RECORD_FORMS)


@cache
def suffixes() -> frozenset[str]:
    """Endings that a file's form is known by, that of its packing taken off."""
    return frozenset(suffix for reader in readers() for suffix in reader.suffixes)


def reader_for(reading: Reading) -> Reader | None:
    """The reader that claims a file; None where there is none.

    Raises:
        DataError: the file cannot be read at all.
    """
    reading.is_known = reading.suffix in suffixes()
    for reader in readers():
        may_be = not reading.is_known or reading.suffix in reader.suffixes or reader.under_any_name
        if may_be and reader.claims(reading):
            return reader
    return None


@cache
def _added() -> tuple[Reader | RecordForm, ...]:
    """The readers of other packages.

    Raises:
        TinyLMError: one of them cannot be loaded.
    """
    added: list[Reader | RecordForm] = []
    for point in entry_points(group=GROUP):
        try:
            found = point.load()()
        except Exception as error:  # noqa: BLE001 - whatever another package does wrong
            raise TinyLMError(f"{point.value}, of the entry points {GROUP}, cannot be loaded: {error!r}") from None
        if not isinstance(found, Reader | RecordForm):
            raise TinyLMError(f"{point.value}, of the entry points {GROUP}, is no Reader and no RecordForm")
        added.append(found)
    return tuple(added)
