"""Trees of messages, in which a question has several answers: of each tree, the best line is read.

OpenAssistant's trees come nested (`prompt` with `replies`) or as rows with a `parent_id`; the best reply is the one of
the lowest `rank`, else the first. In a ChatGPT export (`mapping`), it is the line that ends at `current_node`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from tinylm.data.readers.lines import Place
from tinylm.data.readers.messages import turns_of_messages
from tinylm.data.readers.read_summary import ReadSummary
from tinylm.data.readers.record_values import fail, first_value, kind_of
from tinylm.data.readers.turns import Dialogue, Turn

OTHER_REPLIES = "replies that are not on the best line of their tree"
_PARENT_KEYS = ("parent_id", "parent_message_id")


def is_tree_row(record: object) -> bool:
    """Whether a record is one message of a tree."""
    return isinstance(record, dict) and any(key in record for key in _PARENT_KEYS) and "message_id" in record


def is_nested_tree(record: Mapping[str, object]) -> bool:
    """Whether a record is a tree of OpenAssistant's nested form."""
    return isinstance(record.get("prompt"), dict)


def is_export_tree(record: Mapping[str, object]) -> bool:
    """Whether a record is a conversation of a ChatGPT export."""
    return isinstance(record.get("mapping"), dict)


def dialogues_of_rows(rows: Iterable[tuple[Place, object]], summary: ReadSummary) -> Iterator[Dialogue]:
    """The trees that rows with a `parent_id` make. All rows are held in memory: a reply may come before its question.

    Raises:
        DataError: a row is no message of a tree, or its parent is missing.
    """
    roots: list[tuple[Place, Mapping[str, object]]] = []
    replies: dict[str, list[tuple[Place, Mapping[str, object]]]] = {}
    ids: set[str] = set()
    for place, row in rows:
        if not isinstance(row, dict) or not is_tree_row(row):
            fail(place, f"expected a message with message_id and parent_id, found {kind_of(row)}")
        ids.add(str(row["message_id"]))
        parent = first_value(row, _PARENT_KEYS)
        if parent in (None, ""):
            roots.append((place, row))
        else:
            replies.setdefault(str(parent), []).append((place, row))
    for parent, orphans in replies.items():
        if parent not in ids:
            fail(orphans[0][0], "its parent_id is no message of this file; is the file cut?")
    for place, row in roots:
        line = [(place, row)]
        # Taken out, so that messages which are each other's replies end
        while children := replies.pop(str(line[-1][1]["message_id"]), None):
            _drop_others(children, summary)
            line.append(min(children, key=lambda child: _rank(child[1])))
        yield Dialogue(place, turns_of_messages(line), "OpenAssistant's rows")


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
    yield from turns_of_messages(line)


def turns_of_export_tree(place: Place, record: Mapping[str, object], summary: ReadSummary) -> Iterator[Turn]:
    """The line of a ChatGPT export that was read last; messages without text, such as a hidden system's, are none."""
    mapping = record["mapping"]
    assert isinstance(mapping, dict)
    key, seen, line = record.get("current_node"), set[object](), list[tuple[Place, object]]()
    while isinstance(node := mapping.get(key) if isinstance(key, str) else None, dict) and key not in seen:
        seen.add(key)
        message, key = node.get("message"), node.get("parent")
        if isinstance(message, dict):
            content = message.get("content")
            parts = content.get("parts") if isinstance(content, dict) else None
            text = "\n".join(part for part in parts if isinstance(part, str)) if isinstance(parts, list) else ""
            if text.strip():
                line.append((place, {"role": message.get("author"), "content": text}))
    others = sum(
        isinstance(node, dict) and node.get("message") is not None and name not in seen
        for name, node in mapping.items()
    )
    if others:
        summary.dropped[OTHER_REPLIES] += others
    yield from turns_of_messages(line[::-1])


def _drop_others(children: Sequence[object], summary: ReadSummary) -> None:
    if len(children) > 1:
        summary.dropped[OTHER_REPLIES] += len(children) - 1


def _rank(message: Mapping[str, object]) -> float:
    try:
        return float(str(message.get("rank")))
    except ValueError:
        return float("inf")
