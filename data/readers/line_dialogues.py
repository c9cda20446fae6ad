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

from tinylm.data.readers.lines import Place, iter_lines
from tinylm.data.readers.turns import Dialogue, Turn, alternating
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


def find_separator(path: str | PathLike[str]) -> str | None:
    """What parts the turns in a file with a dialogue a line; None where the file is of another form.

    Raises:
        DataError: the file cannot be read as text, or it is unclear what parts the turns.
    """
    counts: Counter[str] = Counter()
    first_without: dict[str, int] = {}
    lines = numbered = tab_fields = no_turns = fields = 0
    for number, line in iter_lines(path):
        if not line.strip():
            continue
        lines += 1
        fields += _FIELDS in line
        numbered += _NUMBERED.fullmatch(line) is not None if lines > 1 else line.startswith("1 ")
        for name, pattern in _SEPARATORS.items():
            if pattern.search(line):
                counts[name] += 1
            else:
                first_without.setdefault(name, number)
        if "\t" in line:
            tab_fields += 1
            no_turns += any(_NO_TURN.fullmatch(field) for field in line.split("\t")[:2])
    if not lines:
        return None
    if numbered == lines and lines > 1 and counts["tab"]:
        return _PARLAI
    found = [name for name in _SEPARATORS if counts[name] >= _NEARLY_ALL * lines]
    if "__eot__" in found:
        return "__eot__"
    if len(found) > 1:
        raise DataError(
            path, 1, f"unclear what parts the turns: {' and '.join(found)} are both in every line; keep one"
        )
    if 2 * fields > lines or (found == ["tab"] and 2 * no_turns > tab_fields):
        raise DataError(path, 1, "lines of fields, not of turns; put the columns' names on top and name the file .tsv")
    if found:
        return found[0]
    # Tabs are in many a text that is no dialogue
    del counts["tab"]
    name, count = counts.most_common(1)[0] if counts else ("", 0)
    if count > _MOST * lines:
        problem = f"no {name} in this line, but in {count:,} of {lines:,}: unclear whether it parts turns"
        raise DataError(path, first_without[name], problem)
    return None


def iter_separated_dialogues(path: str | PathLike[str], separator: str) -> Iterator[Dialogue]:
    """The dialogues of a file, a line each, in flat memory.

    Args:
        path: a text file.
        separator: as `find_separator` gives it.

    Raises:
        DataError: the file cannot be read as text.
    """
    if separator == _PARLAI:
        yield from _parlai_dialogues(path)
        return
    pattern = _SEPARATORS[separator]
    form = f"a dialogue a line, parted by {separator}"
    for number, line in iter_lines(path):
        if not line.strip():
            continue
        if separator == "</s>":
            line = line.replace("<s>", "")
        turns = [turn.replace("__eou__", "\n") if separator == "__eot__" else turn for turn in pattern.split(line)]
        if not turns[-1].strip():
            turns.pop()
        place = Place(path, number)
        yield Dialogue(place, alternating(place, turns), form)


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
