"""Records of a question and its reply under the names that are in use, and those that tell good replies from bad."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tinylm.data.readers.lines import Place
from tinylm.data.readers.markup import turns_of_text
from tinylm.data.readers.messages import turns_of_list
from tinylm.data.readers.record_values import fail, kind_of, optional_text, shown, text_of
from tinylm.data.readers.turns import Turn, UnusableError

SYSTEM_KEYS = ("system", "system_prompt", "system_message")
# Of each kind the clear names first: where one of them is, the others are taken for something else
_ASK_KEYS = (
    ("instruction", "prompt", "question", "query", "problem"),
    *(
        ("user_message", "user_input", "human_message"),
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
# How a text ends whose next turn is the assistant's, in any markup
_REPLY_MARKS = (":", ">", "]", "assistant", "model")
_CHOSEN, _REJECTED = "chosen", "rejected"
REJECTED_REPLIES = "rejected replies; the chosen ones are read"


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
        DataError: there are several of one kind, and which one counts is unclear.
    """
    replies = [_CHOSEN] if fields.get(_CHOSEN) is not None else _clearest(fields, _REPLY_KEYS)
    asked = _clearest(fields, _ASK_KEYS)
    more = [key for key in _MORE_KEYS if fields.get(key) is not None]
    if not replies or not (asked or more):
        return None
    for what, keys in (("question", asked or more), ("reply", replies)):
        if len(keys) > 1:
            fail(place, f"unclear which is the {what}: {' or '.join(keys)}; keep one of them")
    return Pair((*asked, *more), replies[0])


def _clearest(fields: Mapping[str, object], tiers: tuple[tuple[str, ...], ...]) -> list[str]:
    found = ([key for key in tier if fields.get(key) is not None] for tier in tiers)
    return next((keys for keys in found if keys), [])


def chosen_is_whole(fields: Mapping[str, object]) -> bool:
    """Whether the chosen reply comes with the question before it."""
    chosen = fields.get(_CHOSEN)
    if isinstance(chosen, list):
        return len(chosen) > 1 and _holds_messages(chosen)
    return isinstance(chosen, str) and turns_of_text(Place("", 0), chosen) is not None


def is_preference(fields: Mapping[str, object]) -> bool:
    """Whether a record has a chosen and a rejected reply."""
    return fields.get(_CHOSEN) is not None and _REJECTED in fields


def system_turn(place: Place, fields: Mapping[str, object]) -> Turn:
    """The system message that stands beside a conversation; empty where none does."""
    texts = [optional_text(place, fields.get(key), key) for key in SYSTEM_KEYS]
    return Turn("system", next((text for text in texts if text.strip()), ""), place)


def turns_of_pair(place: Place, fields: Mapping[str, object], pair: Pair) -> Iterator[Turn]:
    """The turns of a record with a question and a reply, each a text or a list of messages.

    Raises:
        UnusableError: the reply is marked as a bad one.
        DataError: something in it is no text.
    """
    if fields.get("label") is False:
        raise UnusableError(place, "its label is false: a bad reply; take the record out", "replies marked as bad")
    yield system_turn(place, fields)
    yield from _history(place, fields.get("history"))
    asked = fields[pair.asked[0]]
    if isinstance(asked, list) and _holds_messages(asked):
        yield from turns_of_list(place, asked)
    else:
        texts = [text_of(place, fields[key], key).strip() for key in pair.asked]
        question = "\n\n".join(text for text in texts if text)
        yield from _turns_before_reply(place, question) or [Turn("user", question, place)]
    yield from _reply(place, fields[pair.replied], pair.replied)


def turns_of_preference(
    place: Place, fields: Mapping[str, object], messages: list[object] | None = None
) -> Iterator[Turn]:
    """The turns of a record whose chosen reply comes with the whole conversation, or after `messages`.

    Raises:
        DataError: the chosen reply is neither a list of messages nor a text that marks who speaks.
    """
    chosen = fields[_CHOSEN]
    yield system_turn(place, fields)
    if messages is not None:
        yield from turns_of_list(place, messages)
        yield from _reply(place, chosen, _CHOSEN)
    elif isinstance(chosen, str):
        marked = turns_of_text(place, chosen)
        if marked is None:
            fail(place, "chosen has no question beside it and marks no speakers: looked for prompt, Human:, Assistant:")
        yield from marked[1]
    elif isinstance(chosen, list):
        yield from turns_of_list(place, chosen)
    else:
        fail(place, f"chosen must be a text or a list of messages, found {kind_of(chosen)}")


def _turns_before_reply(place: Place, question: str) -> list[Turn] | None:
    """The turns of a question that marks who speaks and ends where the assistant is to reply."""
    if not question.endswith(_REPLY_MARKS):
        return None
    marked = turns_of_text(place, question)
    if marked is None or marked[1][-1].role != "assistant" or marked[1][-1].text.strip():
        return None
    return marked[1][:-1]


def _reply(place: Place, reply: object, key: str) -> Iterator[Turn]:
    if isinstance(reply, dict):
        yield from turns_of_list(place, [reply])
    elif isinstance(reply, list) and _holds_messages(reply):
        yield from turns_of_list(place, reply)
    else:
        yield Turn("assistant", text_of(place, reply, key), place)


def _holds_messages(value: list[object]) -> bool:
    return any(isinstance(part, dict) and ("role" in part or "from" in part) for part in value)


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
