"""What JSON, tables and YAML give as values: texts taken out of them, and short names for what else is found."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NoReturn

from tinylm.data.readers.lines import Place
from tinylm.data.readers.turns import UnusableError

_SHOWN_CHARACTERS = 40
_SHOWN_KEYS = 8


def fail(place: Place, problem: str) -> NoReturn:
    """Raise the `DataError` of something that cannot be understood."""
    raise place.error(problem)


def text_of(place: Place, value: object, what: str) -> str:
    """A text, or a list of typed parts that are all text.

    Raises:
        UnusableError: a part is no text but a picture or the like.
        DataError: anything else.
    """
    if isinstance(value, list):
        return "".join(_part(place, part, what) for part in value)
    if not isinstance(value, str):
        fail(place, f"{what} must be a text, found {kind_of(value)}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        half = f"\\u{ord(value[error.start]):04x}"
        fail(place, f"{what} holds half a surrogate pair ({half}), which is no character; take it out")
    return value


def optional_text(place: Place, value: object, what: str) -> str:
    """The same, and an empty text where there is no value."""
    return "" if value is None else text_of(place, value, what)


def _part(place: Place, part: object, what: str) -> str:
    if not isinstance(part, dict):
        fail(place, f"a part of {what} must be an object with a type, found {kind_of(part)}")
    if part.get("type") not in ("text", "input_text", "output_text"):
        problem = f"{what} has a part of type {shown(part.get('type'))}; only text is read, so take the record out"
        raise UnusableError(place, problem, "parts that are no text")
    text = part.get("text") if part.get("text") is not None else part.get("value")
    if not isinstance(text, str):
        fail(place, f"a text part of {what} has no text")
    return text_of(place, text, what)


@lru_cache(maxsize=4096)
def normal_key(key: str) -> str:
    """A key or column as it is compared: in lower case, with one underscore for spaces, dots and dashes."""
    return re.sub(r"[\W_]+", "_", key.strip().lower()).strip("_")


def fields_of(record: Mapping[str, object]) -> dict[str, object]:
    """A record's values by their normal keys; where two keys become one, that which is normal by itself wins."""
    fields = {normal_key(key): value for key, value in record.items()}
    if len(fields) < len(record):
        fields |= {key: value for key, value in record.items() if normal_key(key) == key}
    return fields


def first_value(record: Mapping[str, object], keys: Sequence[str]) -> object:
    """The value of the first key that has one."""
    return next((record[key] for key in keys if record.get(key) is not None), None)


def kind_of(value: object) -> str:
    """What a value is, for a message."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "a text"
        case list():
            return "a list"
        case dict():
            return "an object"
        case int() | float():
            return "a number"
        case _:
            return f"a {type(value).__name__}"


def shown(value: object) -> str:
    """A short quotation, of one line and in ASCII whatever the value holds."""
    if not isinstance(value, str):
        return kind_of(value)
    cut = value[:_SHOWN_CHARACTERS]
    return json.dumps(cut) if cut == value else json.dumps(cut + "...")


def shown_keys(record: Mapping[str, object]) -> str:
    """A record's first keys."""
    if not record:
        return "none"
    quoted = [shown(key) for key in list(record)[:_SHOWN_KEYS]]
    return ", ".join(quoted) + (", ..." if len(record) > _SHOWN_KEYS else "")
