"""What became of a file's text: what was kept, what was left out and why, and what its reader found."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from os import PathLike, fspath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tinylm.data.readers.turns import UnusableError

NOT_UNDERSTOOD = "not understood"
"""The reason for which records and lines are left out that have no known form."""

_SHOWN_KEYS = 8
_SHOWN_KINDS = 12
_VARIABLE = re.compile(r"[\d,.]*\d|\"[^\"]*\"|\(the first at [^()]*\)")


@dataclass
class ReadSummary:
    """Filled while a file is read; complete once its reader is through.

    Attributes:
        path: the file.
        container: JSON, CSV, Parquet and so on; empty for text files.
        encoding: as people call it; empty where a form has none of its own.
        compression: how the file is packed, or None.
        forms: how many conversations or documents came in which form.
        kept: conversations or documents handed out.
        skipped: how many were left out, by the reason.
        skipped_first: where the first of them is, by the reason.
        dropped: parts of kept ones that were left out, by what they are.
        remarks: what else was counted, by what it is.
        unread_keys: keys or columns that held something and were not asked for.
        notes: sentences about how the file was understood.
    """

    path: str | PathLike[str]
    container: str = ""
    encoding: str = ""
    compression: str | None = None
    forms: Counter[str] = field(default_factory=Counter)
    kept: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    skipped_first: dict[str, UnusableError] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    remarks: Counter[str] = field(default_factory=Counter)
    unread_keys: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def note(self, sentence: str) -> None:
        """Add a sentence about how the file was understood, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def skip(self, error: UnusableError) -> None:
        """Count a conversation that is left out."""
        self.skipped[error.reason] += 1
        self.skipped_first.setdefault(error.reason, error)

    def headline(self) -> str:
        """The file, how much was kept of it, and in which forms."""
        forms = ", ".join(form for form, _ in self.forms.most_common())
        how = "; ".join(part for part in (forms, self.container, self.encoding, self.compression) if part)
        return f"{fspath(self.path)}: {self.kept:,} read ({how})"

    def sentences(self) -> list[str]:
        """What the user should know, a line each: skipped and dropped text, unread columns, and the notes."""
        name = fspath(self.path)
        lines = [f"{name}: {note}" for note in self.notes]
        for reason, count in self.skipped.most_common():
            first = self.skipped_first[reason]
            where = f"line {first.line}" if first.line is not None else "the file"
            why = f": {first.what}" if reason == NOT_UNDERSTOOD else ""
            lines.append(f"{name}: {count:,} skipped, {self.kept:,} kept: {reason} (the first at {where}{why})")
        lines += [f"{name}: left out: {what} ({count:,})" for what, count in self.dropped.most_common()]
        lines += [f"{name}: {what}: {count:,}" for what, count in self.remarks.most_common()]
        if self.unread_keys:
            keys = [key for key, _ in self.unread_keys.most_common(_SHOWN_KEYS)]
            more = ", ..." if len(self.unread_keys) > _SHOWN_KEYS else ""
            lines.append(f"{name}: not read, as no part of a conversation or text: {', '.join(keys)}{more}")
        return lines


def summed_up(reports: Iterable[tuple[str, Iterable[str]]]) -> list[str]:
    """What was said about many files, once for all files of which it was said.

    Args:
        reports: files with what was said of each, a sentence each.

    Returns:
        a line for each kind of sentence, the commonest first; sentences of a kind differ in numbers and quotations.
    """
    kinds: dict[str, list[tuple[str, str]]] = {}
    for path, sentences in reports:
        for sentence in sentences:
            kinds.setdefault(_VARIABLE.sub("#", sentence), []).append((path, sentence))
    lines: list[str] = []
    for said in sorted(kinds.values(), key=len, reverse=True):
        path, sentence = said[0]
        lines.append(f"{path}: {sentence}" if len(said) == 1 else f"{len(said):,} files, as {path}: {sentence}")
    more = len(lines) - _SHOWN_KINDS
    return [*lines[:_SHOWN_KINDS], f"and {more:,} more kinds of note"] if more > 1 else lines
