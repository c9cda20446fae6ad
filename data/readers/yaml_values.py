"""YAML files as a stream of records. Needs PyYAML, of the extra `yaml`.

Only plain lists, objects and texts are made, and every scalar is a text: `- Yes` is what somebody says, not a truth
value. U+0085, U+2028 and U+2029 are text, as in YAML 1.2; PyYAML, of YAML 1.1, would end lines there, so that they are
hidden from it. A file is held in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from typing import Any

from tinylm.data.readers.forms import Reader, Reading
from tinylm.data.readers.lines import Place, iter_lines
from tinylm.data.readers.record_keys import is_bare_message
from tinylm.data.readers.records import parts_of_records
from tinylm.data.readers.sources import optional_module
from tinylm.data.readers.turns import Part
from tinylm.errors import DataError

_HIDDEN = {0x85: 0x10F085, 0x2028: 0x10F828, 0x2029: 0x10F829}
_SHOWN = {hidden: character for character, hidden in _HIDDEN.items()}
_LOOKED_AT = 5
_NOT_PRINTABLE = "YAML allows no such character; take it out"


class YamlReader(Reader):
    """YAML, told by the file's name."""

    suffixes = (".yaml", ".yml")

    def claims(self, reading: Reading) -> bool:
        """Whether its name says so: any text may be YAML."""
        return reading.suffix in self.suffixes

    def parts(self, reading: Reading) -> Iterator[Part]:
        """What the values hold."""
        reading.summary.container = "YAML"
        yield from parts_of_records(iter_yaml_records(reading.path), reading)


def iter_yaml_records(path: str | PathLike[str]) -> Iterator[tuple[Place, object]]:
    """The records of a YAML file: the elements of its list, those under `conversations`, or the file as one.

    Raises:
        DataError: the file cannot be read as text, is broken YAML, or PyYAML is missing.
    """
    yaml = optional_module(path, ("yaml",), "yaml")
    text = "\n".join(line for _, line in iter_lines(path))
    try:
        loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)(text.translate(_HIDDEN))
        try:
            while loader.check_node():
                node = loader.get_node()
                _show(node, set())
                for place, value in _records(Place(path, 1), yaml, loader, node):
                    yield place._replace(line=text.count("\n", 0, place.line) + 1), value
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = text.count("\n", 0, mark.index) + 1 if mark is not None else None
        raise DataError(path, line, f"broken YAML ({_printable(error.problem)}); mend it") from None
    except yaml.reader.ReaderError as error:
        raise DataError(path, text.count("\n", 0, error.position) + 1, _NOT_PRINTABLE) from None
    except yaml.YAMLError as error:
        raise DataError(path, None, f"broken YAML ({_printable(str(error))}); mend it") from None
    except RecursionError:
        raise DataError(path, None, "its YAML is nested too deeply; take that out") from None


def _records(start: Place, yaml: Any, loader: Any, node: Any) -> Iterator[tuple[Place, object]]:
    """The records of a node; the line of each place is the index of its first character."""
    listed = None
    if isinstance(node, yaml.MappingNode):
        # The form of chatterbot's corpus: what it is about, and lists of texts
        listed = next((value for key, value in node.value if key.value == "conversations"), None)
    # A lone text among lists is one of which a dash is missing; texts alone are a conversation
    elif not all(isinstance(element, yaml.ScalarNode) for element in node.value[:_LOOKED_AT]):
        listed = node
    if isinstance(listed, yaml.SequenceNode) and listed.value and not _are_messages(loader, listed):
        yield from _elements(start, loader, listed)
        return
    yield start._replace(line=node.start_mark.index), loader.construct_document(node)


def _elements(start: Place, loader: Any, node: Any) -> Iterator[tuple[Place, object]]:
    for element in node.value:
        value = loader.construct_document(element)
        # A list in a list is a dialogue, whatever is asked for
        place = start._replace(line=element.start_mark.index)
        yield place, {"dialogue": value} if isinstance(value, list) else value


def _show(node: Any, seen: set[int]) -> None:
    """Put back the characters that were hidden from the parser."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node.value, str):
        node.value = node.value.translate(_SHOWN)
        return
    for child in node.value:
        for part in child if isinstance(child, tuple) else (child,):
            _show(part, seen)


def _are_messages(loader: Any, node: Any) -> bool:
    """Whether a list is one conversation, by its first elements."""
    elements = node.value[:_LOOKED_AT]
    return 2 * sum(is_bare_message(loader.construct_document(element)) for element in elements) > len(elements)


def _printable(problem: str | None) -> str:
    return "".join(character if character.isprintable() else "?" for character in " ".join((problem or "").split()))
