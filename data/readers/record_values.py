"""What JSON, tables and YAML give as values: texts taken out of them, and short names for what else is found."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NoReturn

from tinylm.data.readers.lines import Place
from tinylm.data.readers.turns import PICTURES, TOOLS, OddError, Turn, UnusableError, is_tool_role

SYSTEM_KEYS = frozenset({"system", "system_prompt", "system_message", "system_instruction", "sys_prompt"})
"""Keys of the system message that stands beside a conversation."""

_SHOWN_CHARACTERS = 40
_SHOWN_KEYS = 8
_TEXT_PARTS = frozenset({"text", "input_text", "output_text", "plain", "string"})
# What a model thought before it replied is no part of its reply, and neither is what a program noted down
_NO_PARTS = frozenset(
    {"thinking", "redacted_thinking", "reasoning", "redacted_reasoning", "thought", "thoughts", "analysis"}
    | {"token_budget", "flag", "step-start", "step_start"}
)
_PART_TEXT_KEYS = ("text", "value", "content")
_WORD_ENDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_LABELLED_SYSTEM = re.compile(r"\s*system\s*:\s*", re.IGNORECASE)


def fail(place: Place, problem: str) -> NoReturn:
    """Raise the `OddError` of something that is not understood."""
    raise OddError(place, problem)


def text_of(place: Place, value: object, what: str) -> str:
    """A text, or a list of parts that are texts. Null is an empty text, and so is what a model thought to itself.

    Raises:
        UnusableError: a part is no text but a picture, a call of a tool or the like.
        OddError: anything else.
    """
    if value is None:
        return ""
    if isinstance(value, list):
        return _joined(part for part in (_part(place, part, what) for part in value))
    if not isinstance(value, str):
        fail(place, f"{what} must be a text, found {kind_of(value)}")
    try:
        if not value.isascii():
            value.encode("utf-8")
    except UnicodeEncodeError as error:
        half = f"\\u{ord(value[error.start]):04x}"
        fail(place, f"{what} holds half a surrogate pair ({half}), which is no character; take it out")
    return value


def system_turn(place: Place, fields: Mapping[str, object]) -> Turn:
    """The system message that stands beside a conversation; empty where none does."""
    texts = (text_of(place, value, key) for key, value in fields.items() if key in SYSTEM_KEYS)
    text = next((text for text in texts if text.strip()), "")
    label = _LABELLED_SYSTEM.match(text)
    return Turn("system", text[label.end() :] if label is not None else text, place)


def _joined(parts: Iterable[str | None]) -> str:
    """Parts one after the other; None, for a part that is left out, parts words."""
    text, apart = "", False
    for part in parts:
        if part is None:
            apart = True
        elif part:
            text += "\n" + part if apart and text and not text[-1].isspace() and not part[0].isspace() else part
            apart = False
    return text


def _part(place: Place, part: object, what: str) -> str | None:
    """The text of a part; None for one that is no part of the message."""
    if isinstance(part, str):
        return text_of(place, part, what)
    if not isinstance(part, dict):
        fail(place, f"a part of {what} must be a text or an object with a type, found {kind_of(part)}")
    kind = part.get("type")
    name = kind if isinstance(kind, str) else ""
    if name in _NO_PARTS:
        return None
    if name not in _TEXT_PARTS:
        problem = f"{what} has a part of type {shown(kind)}; only text is read, so take the record out"
        raise UnusableError(place, problem, TOOLS if is_tool_role(name) or "tool" in name else PICTURES)
    text = first_value(part, _PART_TEXT_KEYS)
    if not isinstance(text, str):
        fail(place, f"a text part of {what} has no text")
    return text_of(place, text, what)


@lru_cache(maxsize=4096)
def normal_key(key: str) -> str:
    """A key or column as it is compared: words in lower case with underscores between them, `chat_id` of `chatId`."""
    return re.sub(r"[\W_]+", "_", _WORD_ENDS.sub("_", key.strip()).lower()).strip("_")


def fields_of(record: Mapping[str, object]) -> dict[str, object]:
    """A record's values by their normal keys; where two keys become one, that which is normal by itself wins."""
    fields = {normal_key(key): value for key, value in record.items()}
    if len(fields) < len(record):
        fields |= {key: value for key, value in record.items() if normal_key(key) == key}
    return fields


def first_value(record: Mapping[str, object], keys: Sequence[str]) -> object:
    """The value of the first key that has one."""
    for key in keys:
        value = record.get(key)
        if value is not None:
            return value
    return None


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
