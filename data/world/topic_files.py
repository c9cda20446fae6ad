"""Reader of the world's text files, whose form topics/README.md describes: blocks of named sections."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tinylm.errors import DataError

TOPICS = Path(__file__).parent / "topics"

_BLOCK = re.compile(r"\[([a-z][a-z0-9_]*)\]$")
_SECTION = re.compile(r"([a-z][a-z -]*):(?:\s+(.*))?$")
_FIELD = re.compile(r"\{(\w+)\}")


class TopicLine(NamedTuple):
    """A line of a section: its number and its text."""

    line: int
    text: str


@dataclass
class TopicBlock:
    """A block of a file.

    Attributes:
        path: the file.
        line: number of the line with the block's name.
        name: of the block.
        sections: name and lines of each section in order; a section may occur more than once.
    """

    path: Path
    line: int
    name: str
    sections: list[tuple[str, list[TopicLine]]] = field(default_factory=list)

    def entries(self, *names: str) -> list[tuple[str, TopicLine]]:
        """The lines of some sections in the order of the file, each with the name of its section."""
        return [(name, entry) for name, entries in self.sections if name in names for entry in entries]

    def texts(self, name: str) -> tuple[str, ...]:
        """The texts of a section; empty if the block has no such section."""
        return tuple(entry.text for _, entry in self.entries(name))

    def only(self, name: str) -> str:
        """The text of a section that has one line.

        Raises:
            DataError: it has none, or several.
        """
        texts = self.texts(name)
        if len(texts) != 1:
            raise DataError(self.path, self.line, f"[{self.name}] needs one line of `{name}:` and has {len(texts)}")
        return texts[0]

    def table(self, name: str) -> dict[str, dict[str, str]]:
        """The rows of a section that is a table, by their first cell; each maps the other columns to cells.

        Raises:
            DataError: a row and the heading differ in their number of cells, or two rows have one name.
        """
        rows = [(entry.line, [cell.strip() for cell in entry.text.split("|")]) for _, entry in self.entries(name)]
        table: dict[str, dict[str, str]] = {}
        for line, cells in rows[1:]:
            heading = rows[0][1]
            if len(cells) != len(heading):
                raise DataError(self.path, line, f"has {len(cells)} cells; the heading of its table has {len(heading)}")
            if cells[0] in table:
                raise DataError(self.path, line, f"a second row called {cells[0]!r}; give it another name")
            table[cells[0]] = dict(zip(heading[1:], cells[1:], strict=True))
        return table

    def check_fields(self, names: Collection[str]) -> None:
        """Check that every {field} in the block has one of these names.

        Raises:
            DataError: one has not.
        """
        for _, entries in self.sections:
            for entry in entries:
                for found in _FIELD.findall(entry.text):
                    if found.lower() not in {name.lower() for name in names}:
                        known = ", ".join(f"{{{name}}}" for name in names)
                        raise DataError(self.path, entry.line, f"{{{found}}} is not known here; known are {known}")


def read_blocks(path: Path, sections: Collection[str], required: Collection[str] = ()) -> list[TopicBlock]:
    """Read the blocks of a file.

    Args:
        path: the file.
        sections: names of the sections that blocks may have.
        required: names of the sections that every block must have.

    Raises:
        DataError: names the first line that cannot be understood.
    """
    blocks = list(_blocks(path, sections))
    seen: set[str] = set()
    for block in blocks:
        if block.name in seen:
            raise DataError(path, block.line, f"a second block [{block.name}]; give it another name")
        seen.add(block.name)
        for name in required:
            if not block.texts(name):
                raise DataError(path, block.line, f"[{block.name}] has no `{name}:`")
    return blocks


def _blocks(path: Path, sections: Collection[str]) -> Iterator[TopicBlock]:
    block: TopicBlock | None = None
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if line[0].isspace():
            if block is None or not block.sections:
                raise DataError(path, number, "an indented line belongs to a section, such as `questions:`, before it")
            if text.count("[") != text.count("]") or text.count("{") != text.count("}"):
                raise DataError(path, number, "a bracket is missing")
            block.sections[-1][1].append(TopicLine(number, text))
        elif found := _BLOCK.match(text):
            if block is not None:
                yield block
            block = TopicBlock(path, number, found[1])
        elif found := _SECTION.match(text):
            if block is None:
                raise DataError(path, number, "a section belongs to a block: put `[name]` before it")
            if found[1] not in sections:
                raise DataError(path, number, f"no section is called `{found[1]}:`; known are {', '.join(sections)}")
            block.sections.append((found[1], [TopicLine(number, found[2])] if found[2] else []))
        else:
            raise DataError(path, number, "neither `[name]` nor `section:`; indent the lines of a section")
    if block is not None:
        yield block
