"""Items of a suite, and reading them from JSON Lines: minimal pairs in BLiMP's form, and multiple choice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from tinylm.data.readers.json_values import iter_json_records
from tinylm.data.readers.lines import Place
from tinylm.errors import DataError

BUNDLED = {"simple-english": Path(__file__).parent / "simple-english.jsonl"}
"""The suites that come with TinyLM, by name."""

MAX_OPTIONS = 64
"""Maximum number of options of an item."""

_PHENOMENA = ("phenomenon", "linguistics_term", "category", "subject", "UID")
_CONTEXTS = ("context", "question", "query", "ctx", "prompt")
_OPTIONS = ("choices", "options", "endings")
_ANSWERS = ("answer", "label", "gold")


@dataclass(frozen=True)
class SuiteItem:
    """A choice between texts, of which one is right.

    Attributes:
        phenomenon: what the item is about; results are given for each.
        context: text before the options; empty for whole sentences.
        options: the texts, the right one first.
    """

    phenomenon: str
    context: str
    options: tuple[str, ...]


def read_suite(suite: str | PathLike[str]) -> list[SuiteItem]:
    """Read a suite.

    A minimal pair is an object with `sentence_good` and `sentence_bad`, as in BLiMP (Warstadt et al. 2020,
    arXiv:1912.00582). A multiple-choice item has a text (`context`, `question`, `query`, `ctx` or `prompt`), a list of
    texts (`choices`, `options` or `endings`) and its right one (`answer`, `label` or `gold`): the place, counted from
    0, a letter, or the text itself. `phenomenon` or BLiMP's `linguistics_term` groups them, else `category`, `subject`
    or `UID`, else the file's name.

    Args:
        suite: a name of `BUNDLED`, or a file.

    Raises:
        DataError: there is no such suite, or a line of the file is no item.
    """
    path = Path(suite)
    if not path.exists() and str(suite) in BUNDLED:
        path = BUNDLED[str(suite)]
    elif not path.exists():
        raise DataError(path, None, f"is neither a file nor a suite; the suites are {', '.join(BUNDLED)}")
    items = list(_items(path))
    if not items:
        raise DataError(path, None, "has no items: lines of JSON with sentence_good and sentence_bad, or with choices")
    return items


def _items(path: Path) -> Iterator[SuiteItem]:
    for place, record in iter_json_records(path):
        if isinstance(record, DataError):
            raise record
        if not isinstance(record, dict):
            raise place.error("is no JSON object")
        yield _item(place, record, path.name.partition(".")[0])


def _item(place: Place, record: Mapping[str, Any], default: str) -> SuiteItem:
    phenomenon = next((record[name] for name in _PHENOMENA if isinstance(record.get(name), str)), default)
    if "sentence_good" in record or "sentence_bad" in record:
        options = [record.get(name) for name in ("sentence_good", "sentence_bad")]
        context, right = "", 0
    else:
        context = _first(record, _CONTEXTS) or ""
        options = _first(record, _OPTIONS)
        if not isinstance(options, list) or not isinstance(context, str):
            raise place.error("needs sentence_good and sentence_bad, or a context and a list of choices")
        right = _place_of_answer(place, _first(record, _ANSWERS), options)
    texts = [option for option in options if isinstance(option, str) and option.strip()]
    if len(texts) < len(options) or not 2 <= len(texts) <= MAX_OPTIONS:
        raise place.error(f"needs 2 to {MAX_OPTIONS} texts to choose from, none of them empty")
    return SuiteItem(phenomenon, context.strip(), (texts[right], *texts[:right], *texts[right + 1 :]))


def _first(record: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((record[name] for name in names if record.get(name) is not None), None)


def _place_of_answer(place: Place, answer: Any, options: list[Any]) -> int:
    """The place of the right option, counted from 0."""
    if isinstance(answer, str) and answer in options:
        return options.index(answer)
    if isinstance(answer, str) and len(answer) == 1 and "A" <= answer.upper() <= "Z":
        answer = ord(answer.upper()) - ord("A")
    elif isinstance(answer, str) and answer.isascii() and answer.isdecimal() and len(answer) < 4:
        answer = int(answer)
    if isinstance(answer, bool) or not isinstance(answer, int) or not 0 <= answer < len(options):
        raise place.error("the answer must be the place of one of the choices, counted from 0, its letter, or its text")
    return answer
