"""The forms of JSON record in which conversations and documents come, each recognized by its own keys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NoReturn

from tinylm.chat_format import Conversation
from tinylm.data.lines import Place
from tinylm.data.turns import ROLES, Turn, build_conversation

_MESSAGE_LISTS = ("messages", "conversations", "conversation")
_ROLE_KEYS = ("role", "from")
_TEXT_KEYS = ("content", "value", "text")
_TOOL_KEYS = ("tool_calls", "function_call")
_LOOKED_FOR = "messages, conversations, conversation, instruction/output, text"
_SHOWN_CHARACTERS = 40
_SHOWN_KEYS = 8


def is_message(value: object) -> bool:
    """Whether a JSON value is one message, so that a list of such is one conversation."""
    return isinstance(value, dict) and any(key in value for key in _ROLE_KEYS) and not is_record(value)


def is_record(value: object) -> bool:
    """Whether a JSON value has the keys of one of the forms or is a bare list of messages."""
    if isinstance(value, list):
        return bool(value) and is_message(value[0])
    if not isinstance(value, dict):
        return False
    if any(key in value for key in _MESSAGE_LISTS) or _is_alpaca(value):
        return True
    return "text" in value and not any(key in value for key in _ROLE_KEYS)


def conversation_of_record(place: Place, record: object) -> Conversation:
    """The conversation that a JSON value holds in any of the forms.

    Args:
        place: where the value begins, for errors.
        record: a list of messages, or an object with one under `messages`, `conversations` or `conversation`,
            or an object with `instruction` and `output`.

    Returns:
        The conversation as `build_conversation` makes it.

    Raises:
        DataError: the value has none of the forms, is a document, or holds something else than texts of known
            roles.
    """
    return build_conversation(place, _RecordReader(place).turns(record))


def document_of_record(place: Place, record: object) -> str:
    """The document that a JSON value holds: its `text`, or its conversation's messages joined by line ends.

    Args:
        place: where the value begins, for errors.
        record: an object with `text`, or anything that `conversation_of_record` takes.

    Returns:
        The text without outer white space; empty where the `text` is.

    Raises:
        DataError: the value has none of the forms, or its conversation cannot be read.
    """
    if isinstance(record, dict) and record.get("text") is not None:
        return _RecordReader(place).text(record["text"], "text").strip()
    return "\n".join(message["content"] for message in conversation_of_record(place, record))


def _is_alpaca(record: dict[str, object]) -> bool:
    return record.get("instruction") is not None and record.get("output") is not None


class _RecordReader:
    """Reads the parts of one record, and knows where the record is when one of them is wrong."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def turns(self, record: object) -> Iterator[Turn]:
        if isinstance(record, list):
            yield from self._message_turns(record)
            return
        if not isinstance(record, dict):
            self._fail(f"expected an object with a conversation or a text, found {_kind(record)}")
        for key in _MESSAGE_LISTS:
            messages = record.get(key)
            if messages is None:
                continue
            if not isinstance(messages, list):
                self._fail(f"{key} must be a list of messages, found {_kind(messages)}")
            yield self._system_turn(record)
            yield from self._message_turns(messages, in_marks=key == "conversation")
            return
        if _is_alpaca(record):
            yield from self._alpaca_turns(record)
        elif record.get("text") is not None:
            self._fail("documents, not conversations: give the file to --pretrain")
        else:
            self._fail(f"no known form of record: looked for {_LOOKED_FOR}; found keys {_shown_keys(record)}")

    def text(self, value: object, what: str) -> str:
        """A text, or a list of typed parts that are all text."""
        if isinstance(value, list):
            return "".join(self._part(part, what) for part in value)
        if not isinstance(value, str):
            self._fail(f"{what} must be a text, found {_kind(value)}")
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            half = f"\\u{ord(value[error.start]):04x}"
            self._fail(f"{what} holds half a surrogate pair ({half}), which is no character; take it out")
        return value

    def _part(self, part: object, what: str) -> str:
        if not isinstance(part, dict):
            self._fail(f"a part of {what} must be an object with a type, found {_kind(part)}")
        if part.get("type") != "text":
            kind = _shown(part.get("type"))
            self._fail(f"{what} has a part of type {kind}; only text is read, so take the record out")
        text = _first(part, ("text", "value"))
        if not isinstance(text, str):
            self._fail(f"a text part of {what} has no text")
        return self.text(text, what)

    def _message_turns(self, messages: list[object], in_marks: bool = False) -> Iterator[Turn]:
        for message in messages:
            if not isinstance(message, dict):
                self._fail(f"a message must be an object with a role, found {_kind(message)}")
            turn = self._message_turn(message)
            yield turn._replace(text=_without_marks(turn.text)) if in_marks else turn

    def _message_turn(self, message: dict[str, object]) -> Turn:
        name = _first(message, _ROLE_KEYS)
        if name is None:
            self._fail(f"a message has no role: looked for role, from; found keys {_shown_keys(message)}")
        role = ROLES.get(name.strip().lower()) if isinstance(name, str) else None
        if role is None:
            self._fail(
                f"role {_shown(name)} is not read, only system, user and assistant (no tools): "
                "rename the role or take the record out"
            )
        for key in _TOOL_KEYS:
            if message.get(key):
                self._fail(f"a message has {key}; tools are not read, so take the record out")
        content = _first(message, _TEXT_KEYS)
        if content is None:
            found = _shown_keys(message)
            self._fail(f"a message has no text: looked for content, value, text; found keys {found}")
        return Turn(role, self.text(content, f"the {role} turn"), self._place)

    def _alpaca_turns(self, record: dict[str, object]) -> Iterator[Turn]:
        yield self._system_turn(record)
        history = record.get("history")
        if history is None:
            history = []
        if not isinstance(history, list):
            self._fail(f"history must be a list of pairs, found {_kind(history)}")
        for pair in history:
            if not isinstance(pair, list) or len(pair) != 2:
                self._fail(f"history must hold pairs of question and answer, found {_shown(pair)}")
            yield Turn("user", self.text(pair[0], "history"), self._place)
            yield Turn("assistant", self.text(pair[1], "history"), self._place)
        asked = [self._optional_text(record, key).strip() for key in ("instruction", "input")]
        yield Turn("user", "\n\n".join(text for text in asked if text), self._place)
        yield Turn("assistant", self.text(record["output"], "output"), self._place)

    def _system_turn(self, record: dict[str, object]) -> Turn:
        return Turn("system", self._optional_text(record, "system"), self._place)

    def _optional_text(self, record: dict[str, object], key: str) -> str:
        value = record.get(key)
        return "" if value is None else self.text(value, key)

    def _fail(self, problem: str) -> NoReturn:
        raise self._place.error(problem)


def _without_marks(text: str) -> str:
    """The text inside its outer pair of `<bos>` and `<eos>`; a mark anywhere else is text."""
    inner = text.strip()
    if inner.startswith("<bos>") and inner.endswith("<eos>"):
        return inner.removeprefix("<bos>").removesuffix("<eos>")
    return text


def _first(record: dict[str, object], keys: tuple[str, ...]) -> object:
    """The value of the first key that has one."""
    return next((record[key] for key in keys if record.get(key) is not None), None)


def _kind(value: object) -> str:
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
        case _:
            return "a number"


def _shown(value: object) -> str:
    """A short quotation, of one line and in ASCII whatever the value holds."""
    if not isinstance(value, str):
        return _kind(value)
    cut = value[:_SHOWN_CHARACTERS]
    return json.dumps(cut) if cut == value else json.dumps(cut + "...")


def _shown_keys(record: dict[str, object]) -> str:
    if not record:
        return "none"
    shown = [_shown(key) for key in list(record)[:_SHOWN_KEYS]]
    return ", ".join(shown) + (", ..." if len(record) > _SHOWN_KEYS else "")
