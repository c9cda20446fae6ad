"""Records of a question and its reply under the names that are in use, and those that tell good replies from bad."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tinylm.data.readers.forms import Record
from tinylm.data.readers.lines import Place
from tinylm.data.readers.marked_text import turns_of_text
from tinylm.data.readers.messages import holds_messages, turns_of_list
from tinylm.data.readers.options import ReadOptions
from tinylm.data.readers.preferences import CHOSEN
from tinylm.data.readers.record_values import fail, fields_of, kind_of, shown, text_of
from tinylm.data.readers.turns import Turn

# Of each kind the clear names first: where one of them is, the others are taken for something else
_ASK_KEYS = (
    ("instruction", "prompt", "question", "query", "problem"),
    *(
        ("user_message", "user_input", "human_message", "user_prompt", "user_query"),
        ("user", "human", "q", "request", "message", "inputs", "source"),
    ),
)
# Beside a question they belong to it; alone they are the question
_MORE_KEYS = ("input", "context")
_REPLY_KEYS = (
    ("output", "response", "completion", "answer", "reply", "solution"),
    ("assistant_message", "assistant_response", "model_response", "bot_response"),
    ("assistant", "bot", "ai", "gpt", "chatbot", "a", "target", "targets", "outputs"),
)
KNOWN_ASK_KEYS = frozenset(key for tier in _ASK_KEYS for key in tier) | frozenset(_MORE_KEYS)
KNOWN_REPLY_KEYS = frozenset(key for tier in _REPLY_KEYS for key in tier) | {CHOSEN}
# How a text ends whose next turn is the assistant's, in any markup
_REPLY_MARKS = (":", ">", "]", "assistant", "model")
REJECTED_REPLIES = "rejected replies; the chosen ones are read"
MORE_REPLIES = "further replies to the same question; the first one is read"
_MESSAGE_KEYS = ("messages", "conversation", "conversations", "turns")


class Pair(NamedTuple):
    """The keys of a record that hold its question and its reply."""

    asked: tuple[str, ...]
    replied: str

    @property
    def form(self) -> str:
        """The keys, as people name the form."""
        return "/".join((*self.asked, self.replied))


def find_pair(place: Place, fields: Mapping[str, object]) -> Pair | None:
    """The question and the reply of a record; None where it has not both.

    Args:
        place: where the record is.
        fields: its values by their normal keys.

    Raises:
        OddError: there are several of one kind, and which one counts is unclear.
    """
    replies = [CHOSEN] if fields.get(CHOSEN) is not None else _clearest(fields, _REPLY_KEYS)
    asked = _clearest(fields, _ASK_KEYS)
    more = [key for key in _MORE_KEYS if fields.get(key) is not None]
    if not replies or not (asked or more):
        return None
    for what, keys in (("question", asked or more), ("reply", replies)):
        if len(keys) > 1:
            fail(place, f"unclear which is the {what}: {' or '.join(keys)}; keep one of them")
    return Pair((*asked, *more), replies[0])


def find_pair_of_nulls(fields: Mapping[str, object]) -> Pair | None:
    """The question and the reply of a record in which one of them, or both, are null."""
    asking, replying = (*_ASK_KEYS, _MORE_KEYS), ((CHOSEN,), *_REPLY_KEYS)
    asked = _clearest(fields, asking) or [key for keys in asking for key in keys if key in fields]
    replies = _clearest(fields, replying) or [key for keys in replying for key in keys if key in fields]
    return Pair((asked[0],), replies[0]) if asked and replies else None


def _clearest(fields: Mapping[str, object], tiers: tuple[tuple[str, ...], ...]) -> list[str]:
    found = ([key for key in tier if fields.get(key) is not None] for tier in tiers)
    return next((keys for keys in found if keys), [])


def chosen_is_whole(record: Record) -> bool:
    """Whether the chosen reply comes with the question before it."""
    chosen = record.fields.get(CHOSEN)
    if isinstance(chosen, list):
        return len(chosen) > 1 and holds_messages(chosen)
    return isinstance(chosen, str) and turns_of_text(record.place, chosen, record.reading.options) is not None


def turns_of_pair(record: Record, pair: Pair) -> Iterator[Turn]:
    """The turns of a record with a question and a reply, each a text or a list of messages.

    Raises:
        OddError: something in it is no text.
    """
    place, fields, summary = record.place, record.fields, record.reading.summary
    yield from _history(place, fields.get("history"))
    asked = _messages_in(fields[pair.asked[0]])
    if asked is not None:
        yield from turns_of_list(place, asked, summary)
    else:
        texts = [text_of(place, fields[key], key).strip() for key in pair.asked]
        question = "\n\n".join(text for text in texts if text)
        yield from _turns_before_reply(place, question, record.reading.options) or [Turn("user", question, place)]
    yield from _reply(record, fields[pair.replied], pair.replied)


def turns_of_preference(record: Record, messages: list[object] | None = None) -> Iterator[Turn]:
    """The turns of a record whose chosen reply comes with the whole conversation, or after `messages`.

    Raises:
        OddError: the chosen reply is neither a list of messages nor a text that marks who speaks.
    """
    place, summary, chosen = record.place, record.reading.summary, record.fields[CHOSEN]
    if messages is not None:
        yield from turns_of_list(place, messages, summary)
        yield from _reply(record, chosen, CHOSEN)
    elif isinstance(chosen, str):
        marked = turns_of_text(place, chosen, record.reading.options)
        if marked is None:
            fail(place, "chosen has no question beside it and marks no speakers: looked for prompt, Human:, Assistant:")
        yield from marked[1]
    elif (listed := _messages_in(chosen)) is not None:
        yield from turns_of_list(place, listed, summary)
    elif isinstance(chosen, list):
        yield from turns_of_list(place, chosen, summary)
    else:
        fail(place, f"chosen must be a text or a list of messages, found {kind_of(chosen)}")


def _messages_in(value: object) -> list[object] | None:
    """A list of messages, which may be under a key of its own."""
    if isinstance(value, dict):
        fields = fields_of(value)
        value = next((fields[key] for key in _MESSAGE_KEYS if isinstance(fields.get(key), list)), None)
    return value if isinstance(value, list) and holds_messages(value) else None


def _turns_before_reply(place: Place, question: str, options: ReadOptions) -> list[Turn] | None:
    """The turns of a question that marks who speaks and ends where the assistant is to reply."""
    if not question.endswith(_REPLY_MARKS):
        return None
    marked = turns_of_text(place, question, options)
    if marked is None:
        return None
    turns = list(marked[1])
    return None if turns[-1].role != "assistant" or turns[-1].text.strip() else turns[:-1]


def _reply(record: Record, reply: object, key: str) -> Iterator[Turn]:
    place, summary = record.place, record.reading.summary
    listed = _messages_in(reply)
    if listed is not None:
        yield from turns_of_list(place, listed, summary)
    elif isinstance(reply, dict):
        yield from turns_of_list(place, [reply], summary)
    elif isinstance(reply, list) and reply and all(isinstance(text, str) for text in reply):
        if len(reply) > 1:
            summary.dropped[MORE_REPLIES] += len(reply) - 1
        yield Turn("assistant", text_of(place, reply[0], key), place)
    else:
        yield Turn("assistant", text_of(place, reply, key), place)


def _history(place: Place, history: object) -> Iterator[Turn]:
    if history is None:
        return
    if not isinstance(history, list):
        fail(place, f"history must be a list of pairs, found {kind_of(history)}")
    for pair in history:
        if not isinstance(pair, list) or len(pair) != 2:
            fail(place, f"history must hold pairs of question and answer, found {shown(pair)}")
        yield Turn("user", text_of(place, pair[0], "history"), place)
        yield Turn("assistant", text_of(place, pair[1], "history"), place)
