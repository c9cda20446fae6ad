"""What a reader is: a class for a form of file, or one for a form of record.

`registry.py` lists those of this package. Another package adds its own by an entry point of the group `tinylm.readers`
that names a subclass of `Reader` or `RecordForm`; those are asked before the ones here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from typing import ClassVar, NamedTuple

from tinylm.data.readers.lines import Place
from tinylm.data.readers.options import ReadOptions
from tinylm.data.readers.preferences import REJECTED, check_mark, with_canonical_choice
from tinylm.data.readers.read_summary import ReadSummary
from tinylm.data.readers.record_values import SYSTEM_KEYS, fields_of, system_turn, text_of
from tinylm.data.readers.sources import inner_suffix
from tinylm.data.readers.turns import PICTURES, Dialogue, Document, Part, Turn, UnusableError

_ASKING = ("instruction", "prompt", "question", "query", "problem")
_AROUND = (*_ASKING, "context")
MEDIA_KEYS = frozenset(
    f"{kind}{end}"
    for kind in ("image", "picture", "photo", "video", "audio")
    for end in ("", "s", "_path", "_paths", "_url", "_urls", "_file", "_files")
)
"""Keys of what is no text, beside a conversation about it."""

TEXT_SUFFIXES = (".txt", ".md")
"""Endings of text files."""


@dataclass
class Reading:
    """One file that is being read.

    Attributes:
        path: the file.
        documents: whether documents are wanted; else conversations.
        summary: is told how the file was understood and what was left out.
        options: what the user said about files.
        forms: the forms of record that are known.
        is_known: whether some form has the ending of the file's name.
        labels_are_classes: whether `label` in its records tells more apart than good and bad replies.
        keys_repeat: whether its records have equal keys, so that these are no ids.
    """

    path: str | PathLike[str]
    documents: bool
    summary: ReadSummary
    options: ReadOptions = field(default_factory=ReadOptions)
    forms: tuple[RecordForm, ...] = ()
    is_known: bool = False
    labels_are_classes: bool = False
    keys_repeat: bool = False

    @cached_property
    def suffix(self) -> str:
        """The ending of the file's name in lower case, that of its packing taken off: `.jsonl`."""
        return inner_suffix(self.path)


class Reader(ABC):
    """A form of file.

    Attributes:
        suffixes: endings of file names, in lower case, that this form has. Files with them are found in folders.
        under_any_name: whether files with the endings of other forms may have this one too.
    """

    suffixes: ClassVar[tuple[str, ...]] = ()
    under_any_name: ClassVar[bool] = False

    @abstractmethod
    def claims(self, reading: Reading) -> bool:
        """Whether this reader is to read a file whose name has one of its endings, or an ending that nobody knows.

        Raises:
            DataError: the file cannot be read at all.
        """

    @abstractmethod
    def parts(self, reading: Reading) -> Iterator[Part]:
        """The conversations and documents of a file, in order.

        An `UnusableError` among them stands for a part that is left out.

        Raises:
            DataError: the file cannot be read on from some line.
        """


@dataclass(frozen=True)
class Record:
    """An object of a file: a JSON object, a row of a table, a value of a YAML file.

    Attributes:
        place: where it begins.
        value: as the file has it.
        fields: its values by their keys in lower case with underscores.
        reading: the file.
    """

    place: Place
    value: Mapping[str, object]
    fields: dict[str, object]
    reading: Reading

    @classmethod
    def of(cls, place: Place, value: Mapping[str, object], reading: Reading) -> Record:
        """A record of a value."""
        return cls(place, value, with_canonical_choice(fields_of(value)), reading)

    def dialogue(self, turns: Iterator[Turn], form: str, *used: str) -> Dialogue:
        """A conversation of this record, with the system message that stands beside it.

        Args:
            turns: in order.
            form: how the form is called.
            used: keys that are read; text under others is reported.

        Raises:
            UnusableError: the record is marked as bad, or is about a picture.
        """
        check_mark(self.place, self.fields, labels_are_classes=self.reading.labels_are_classes)
        if not MEDIA_KEYS.isdisjoint(self.fields):
            self._check_media()
        self._note_unread(used)
        if SYSTEM_KEYS.isdisjoint(self.fields):
            return Dialogue(self.place, turns, form)
        return Dialogue(self.place, _after_system(system_turn(self.place, self.fields), turns), form)

    def document(self, key: str) -> Document:
        """The text under a key as a document.

        Raises:
            OddError: it is no text.
        """
        self._note_unread((key,))
        return Document(self.place, text_of(self.place, self.fields[key], key), f"documents in {key}")

    def inner(self, values: object) -> Iterator[Inner]:
        """Records in this one, with what stands around them and is true of each."""
        assert isinstance(values, list)
        for number, value in enumerate(values, 1):
            yield Inner(self.place._replace(record=number), self.inherited(value))

    def inherited(self, value: object) -> object:
        """A record in this one, with this one's system message, and with its question where it has none itself."""
        system = {key: text for key, text in self.fields.items() if key in SYSTEM_KEYS and text}
        if isinstance(value, list):
            return {"dialogue": value, **system} if system else value
        if not isinstance(value, dict):
            return value
        fields = fields_of(value)
        around = {key: self.fields[key] for key in _AROUND if isinstance(self.fields.get(key), str)}
        if (definition := self.fields.get("definition")) and "instruction" not in around:
            around["instruction"] = " ".join(map(str, definition)) if isinstance(definition, list) else definition
        # Several replies to one question are no conversations, each with that question
        asks = not fields.keys().isdisjoint(_ASKING)
        wanted = ("context",) if asks else _ASKING if "input" in fields else ()
        around = {key: text for key, text in around.items() if key in wanted}
        return {**{key: text for key, text in (system | around).items() if key not in fields}, **value}

    def _check_media(self) -> None:
        for key in MEDIA_KEYS & self.fields.keys():
            if isinstance(self.fields[key], str | bytes | list | dict) and self.fields[key]:
                problem = f"has {key} beside it; only text is read, so take the record out"
                raise UnusableError(self.place, problem, PICTURES)

    def _note_unread(self, used: tuple[str, ...]) -> None:
        for key, value in self.fields.items():
            if key not in used and key != REJECTED and key not in SYSTEM_KEYS and _is_text_like(value):
                self.reading.summary.unread_keys[key] += 1


class Inner(NamedTuple):
    """A record in a record, to be read as one of its own."""

    place: Place
    value: object


class RecordForm(ABC):
    """A form of record: a JSON object, a row of a table, a value of a YAML file."""

    @abstractmethod
    def claims(self, record: Record) -> bool:
        """Whether a record has this form; told by its keys and the kinds of their values."""

    @abstractmethod
    def parts(self, record: Record) -> Iterator[Part | Inner]:
        """The conversations, documents and further records in a record: mostly one.

        Raises:
            UnusableError: it holds nothing to learn from, or (an `OddError`) is not understood.
        """


def _after_system(system: Turn, turns: Iterator[Turn]) -> Iterator[Turn]:
    """Turns after a system message, unless they begin with the same one."""
    first = next(turns, None)
    if first is None:
        return
    said = system.text.strip()
    if said and not (first.role == "system" and said in first.text):
        yield system
    yield first
    yield from turns


def _is_text_like(value: object) -> bool:
    """Whether a value that is not read may be text that the user misses."""
    return (isinstance(value, str) and value.count(" ") > 2) or (isinstance(value, list | dict) and bool(value))
