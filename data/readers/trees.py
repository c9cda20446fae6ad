"""Trees of messages, in which a question has several answers: of each tree, the best line is read.

OpenAssistant's trees come nested (`prompt` with `replies`) or as rows with a `parent_id`; the best reply is the one of
the lowest `rank`, else the first. In a ChatGPT export (`mapping`), it is the line that ends at `current_node`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from tinylm.data.readers.lines import Place
from tinylm.data.readers.messages import OTHER_REPLIES, ROLE_KEYS, TEXT_KEYS, turns_of_messages
from tinylm.data.readers.read_summary import ReadSummary
from tinylm.data.readers.record_values import fields_of, first_value, kind_of, shown
from tinylm.data.readers.turns import (
    PICTURES,
    TOOLS,
    Dialogue,
    OddError,
    Part,
    Turn,
    UnusableError,
    is_tool_role,
    known_role,
)

_PARENT_KEYS = ("parent_id", "parent_message_id", "parent", "parent_uuid", "parent_message_uuid")
_ID_KEYS = ("message_id", "id", "uuid", "msg_id")
_NO_TEXT_KINDS = ("thoughts", "reasoning_recap", "user_editable_context", "model_editable_context")


def is_tree_row(record: object) -> bool:
    """Whether a record is one message of a tree: with a role, an id, and the id of the message before it."""
    if not isinstance(record, dict):
        return False
    fields = fields_of(record)
    if fields.keys().isdisjoint(_PARENT_KEYS) or fields.keys().isdisjoint(_ID_KEYS):
        return False
    name = first_value(fields, ROLE_KEYS)
    name = name.get("role") if isinstance(name, dict) else name
    has_text = any(isinstance(fields.get(key), str) for key in TEXT_KEYS)
    return has_text and isinstance(name, str) and (known_role(name) is not None or is_tool_role(name))


def is_nested_tree(record: Mapping[str, object]) -> bool:
    """Whether a record is a tree of OpenAssistant's nested form."""
    prompt = record.get("prompt")
    return isinstance(prompt, dict) and ("replies" in prompt or first_value(prompt, ROLE_KEYS) is not None)


def is_export_tree(record: Mapping[str, object]) -> bool:
    """Whether a record is a conversation of a ChatGPT export."""
    return isinstance(record.get("mapping"), dict)


def dialogues_of_rows(rows: Iterable[tuple[Place, object]], summary: ReadSummary) -> Iterator[Part]:
    """The trees that rows with a `parent_id` make. All rows are held in memory: a reply may come before its question.

    A row that is no message of a tree, or whose parent is missing, is left out and counted.
    """
    roots: list[tuple[Place, Mapping[str, object]]] = []
    replies: dict[str, list[tuple[Place, Mapping[str, object]]]] = {}
    ids: set[str] = set()
    for place, row in rows:
        if isinstance(row, UnusableError):
            yield row
            continue
        fields = fields_of(row) if isinstance(row, dict) else {}
        name = first_value(fields, _ID_KEYS)
        if name is None:
            yield OddError(place, f"expected a message with message_id and parent_id, found {kind_of(row)}")
            continue
        ids.add(str(name))
        parent = first_value(fields, _PARENT_KEYS)
        if parent in (None, ""):
            roots.append((place, fields))
        else:
            replies.setdefault(str(parent), []).append((place, fields))
    for parent, orphans in replies.items():
        if parent not in ids:
            what = f"its parent {shown(parent)} is no message of this file; is the file cut?"
            yield from (OddError(place, what) for place, _ in orphans)
    for place, row in roots:
        line = [(place, row)]
        # Taken out, so that messages which are each other's replies end
        while children := replies.pop(str(first_value(line[-1][1], _ID_KEYS)), None):
            _drop_others(children, summary)
            line.append(min(children, key=lambda child: _rank(child[1])))
        yield Dialogue(place, turns_of_messages(line, summary), "OpenAssistant's rows")


def turns_of_nested_tree(place: Place, record: Mapping[str, object], summary: ReadSummary) -> Iterator[Turn]:
    """The best line of a nested tree."""
    line: list[tuple[Place, Mapping[str, object]]] = []
    message = record.get("prompt")
    while isinstance(message, dict):
        line.append((place, message))
        replies = message.get("replies")
        children = [(place, reply) for reply in replies if isinstance(reply, dict)] if isinstance(replies, list) else []
        _drop_others(children, summary)
        message = min((child for _, child in children), key=_rank, default=None)
    yield from turns_of_messages(line, summary)


def turns_of_export_tree(place: Place, record: Mapping[str, object], summary: ReadSummary) -> Iterator[Turn]:
    """The line of a ChatGPT export that was read last; messages without text, such as a hidden system's, are none.

    Raises:
        UnusableError: a message of the line is a picture or a call of a tool.
    """
    mapping = record["mapping"]
    assert isinstance(mapping, dict)
    key, seen, line = record.get("current_node"), set[object](), list[tuple[Place, object]]()
    while isinstance(node := mapping.get(key) if isinstance(key, str) else None, dict) and key not in seen:
        seen.add(key)
        message, key = node.get("message"), node.get("parent")
        if isinstance(message, dict):
            text = _export_text(place, message)
            if text.strip():
                line.append((place, {"role": message.get("author"), "content": text}))
    others = sum(
        isinstance(node, dict) and node.get("message") is not None and name not in seen
        for name, node in mapping.items()
    )
    if others:
        summary.dropped[OTHER_REPLIES] += others
    yield from turns_of_messages(line[::-1], summary)


def _export_text(place: Place, message: Mapping[str, object]) -> str:
    content = message.get("content")
    if not isinstance(content, dict) or content.get("content_type") in _NO_TEXT_KINDS:
        return ""
    if message.get("recipient") not in (None, "all"):
        problem = f"a message is for {shown(message.get('recipient'))}: tools are not read, so take the record out"
        raise UnusableError(place, problem, TOOLS)
    parts = content.get("parts")
    if not isinstance(parts, list):
        return ""
    kinds = {part.get("content_type") for part in parts if isinstance(part, dict)}
    if not kinds <= {None, "text", "audio_transcription"}:
        problem = "a message has a part that is no text; only text is read, so take the record out"
        raise UnusableError(place, problem, PICTURES)
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    return "\n".join(text for text in texts if isinstance(text, str))


def _drop_others(children: Sequence[object], summary: ReadSummary) -> None:
    if len(children) > 1:
        summary.dropped[OTHER_REPLIES] += len(children) - 1


def _rank(message: Mapping[str, object]) -> float:
    try:
        return float(str(message.get("rank")))
    except ValueError:
        return float("inf")
