"""Logs of messengers and plays: lines of `Name: text`. Which name is the assistant only the user knows."""

from __future__ import annotations

import re
from collections import Counter
from itertools import islice
from os import PathLike

from tinylm.data.readers.lines import iter_lines
from tinylm.data.readers.record_values import shown
from tinylm.errors import DataError

_STAMP = r"(?:[\[(]?\d{1,4}[./:-]\d{1,2}(?:[./:-]\d{1,4})?[^A-Za-z<]{0,20}(?:[ap]\.?m\.?)?[\])]?\s*(?:-|\u2013)?\s*)"
_LINE = re.compile(rf"\s*\u200e?{_STAMP}?(?:<([^<>:]{{1,40}})>\s|([^\s:<>\[\]][^:\n<>\[\]]{{0,39}}):\s)", re.IGNORECASE)
_DATED = re.compile(r"\s*\u200e?\[?\d{1,4}[./-](?:\d{1,2}|[A-Z][a-z]{2})[./-]\d{2,4}\D")
_LOOKED_AT_LINES = 2000
_MOST, _MOST_DATED = 0.8, 0.4
_SHOWN_NAMES = 3


def refuse_chat_log(path: str | PathLike[str]) -> None:
    """Refuse a text file whose lines are those of a chat log.

    Raises:
        DataError: most lines begin with a name and a colon, or many with a date; or the file cannot be read as text.
    """
    names: Counter[str] = Counter()
    lines = dated = 0
    for _, line in islice(iter_lines(path), _LOOKED_AT_LINES):
        if not line.strip():
            continue
        lines += 1
        dated += _DATED.match(line) is not None
        match = _LINE.match(line)
        if match is not None:
            names[(match[1] or match[2]).strip()] += 1
    # In a log the same few names come again and again; in other text, what stands before colons differs
    repeated = lines > 1 and sum(names.values()) >= _MOST * lines and 2 * len(names) <= max(4, sum(names.values()))
    if not repeated and (lines < 2 or dated < _MOST_DATED * lines):
        return
    listed = ", ".join(shown(name) for name, _ in names.most_common(_SHOWN_NAMES))
    who = f" of {listed}" if repeated else ""
    problem = f"looks like a chat log{who}: who is the assistant? Write their names as User: and Assistant:"
    raise DataError(path, 1, problem + (", without the times" if dated else ""))
