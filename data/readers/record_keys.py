"""What the keys of a value tell about it: a record, a message, a row that belongs with others, a document."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tinylm.data.readers.lines import Place
from tinylm.data.readers.messages import ROLE_KEYS, is_message, is_role_pair
from tinylm.data.readers.preferences import is_preference, with_canonical_choice
from tinylm.data.readers.prompt_response import find_pair
from tinylm.data.readers.record_values import fields_of, first_value, normal_key
from tinylm.data.readers.trees import is_export_tree, is_nested_tree
from tinylm.data.readers.turns import OddError, is_tool_role, known_role, roles_of_speakers

MESSAGE_LISTS = (
    *("messages", "conversations", "conversation", "dialog", "dialogue", "dialogs", "dialogues", "turns"),
    *("utterances", "chat", "chat_messages", "message_list"),
)
DOCUMENT_KEYS = ("text", "document", "content", "body", "story", "article", "passage", "selftext")
LISTS_OF_CONVERSATIONS = ("conversations", "dialogs", "dialogues")

# In the name of a column that holds a whole dialogue, and in that of one that is about it
_DIALOGUE_WORDS = frozenset({"conversation", "dialogue", "dialog", "chat", "transcript"})
_ABOUT_WORDS = frozenset({"id", "ids", "index", "number", "type", "title", "topic", "name", "date", "time", "length"})
_CONVERSATION_KEY = re.compile(
    r"(?:conversation|conv|dialog|dialogue|chat|thread|session)(?:_?(?:id|idx|index|no|num|number|hash))?"
)
# A message with one of these is a row of a table, which says of itself where it belongs
_ROW_KEYS = ("id", "message_id", "uuid", "msg_id")


def is_record(value: object) -> bool:
    """Whether a value has the keys of one of the forms or is a list of messages or of texts."""
    if isinstance(value, list):
        texts = len(value) > 1 and all(isinstance(text, str) for text in value)
        return bool(value) and (is_bare_message(value[0]) or texts or all(map(is_role_pair, value)))
    if not isinstance(value, dict):
        return False
    fields = with_canonical_choice(fields_of(value))
    if any(fields.get(key) is not None for key in MESSAGE_LISTS) or is_preference(fields):
        return True
    if is_nested_tree(fields) or is_export_tree(fields):
        return True
    try:
        pair = find_pair(Place("", 0), fields)
    except OddError:
        return True
    return pair is not None or ("text" in fields and not is_message(value))


def is_bare_message(value: object) -> bool:
    """Whether a value is a message of a role, and no row that says where it belongs."""
    return (
        isinstance(value, dict)
        and is_message(value)
        and has_role(value)
        and not is_record(value)
        and not any(normal_key(key) in _ROW_KEYS or is_conversation_key(normal_key(key)) for key in value)
    )


def has_role(message: Mapping[str, object]) -> bool:
    """Whether a message names a role, or a speaker by a number, rather than a person."""
    name = first_value(message, ROLE_KEYS)
    if isinstance(name, dict):
        name = name.get("role")
    if isinstance(name, int):
        return True
    if not isinstance(name, str):
        return False
    return known_role(name) is not None or is_tool_role(name) or roles_of_speakers([name]) is not None


def is_conversation_key(key: str) -> bool:
    """Whether a column, by its normal key, tells the conversations of its rows apart."""
    return _CONVERSATION_KEY.fullmatch(key) is not None


def is_conversation(value: object) -> bool:
    """A list of messages or of texts, or an object with one."""
    if isinstance(value, list):
        texts = len(value) > 1 and any(value) and all(text is None or isinstance(text, str) for text in value)
        return len(value) > 0 and (is_message(value[0]) or texts)
    if not isinstance(value, dict) or is_message(value):
        return False
    fields = fields_of(value)
    return any(isinstance(fields.get(key), list) for key in (*MESSAGE_LISTS, "content"))


def holds_conversations(fields: Mapping[str, object]) -> str | None:
    """The key of a list of conversations, one by one, where a record has such."""
    for key in LISTS_OF_CONVERSATIONS:
        value = fields.get(key)
        if isinstance(value, list) and value and all(map(is_conversation, value)):
            return key
    return None


def is_text_column(name: str) -> bool:
    """Whether a column of this name is known to hold texts or dialogues."""
    key = normal_key(name)
    return key in MESSAGE_LISTS or key in DOCUMENT_KEYS or bool(set(key.split("_")) & _DIALOGUE_WORDS)


def dialogue_columns(fields: Mapping[str, object]) -> list[str]:
    """Keys whose names say that they hold a whole dialogue."""
    found = []
    for key, value in fields.items():
        if isinstance(value, str | list) and value:
            words = set(key.split("_"))
            if words & _DIALOGUE_WORDS and not words & _ABOUT_WORDS:
                found.append(key)
    return found
