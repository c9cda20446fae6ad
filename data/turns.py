"""Roles and turns: what every form of conversation is made of before it becomes a `Conversation`."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import NamedTuple

from tinylm.chat_format import Conversation, Role
from tinylm.data.lines import Place

ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "bot": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
}
"""The names that are in use for the roles, in lower case."""


class Turn(NamedTuple):
    """One turn as a file has it."""

    role: Role
    text: str
    place: Place


def build_conversation(place: Place, turns: Iterable[Turn]) -> Conversation:
    """The conversation that the turns of a file make.

    Texts lose outer white space, empty system messages are dropped, and consecutive turns of one role are
    joined with a line end, since in a chat the roles take turns.

    Args:
        place: where the conversation begins, for errors.
        turns: in order.

    Returns:
        At least one message, at least one of them the assistant's.

    Raises:
        DataError: an empty user's or assistant's turn, or no assistant's turn.
    """
    kept: list[Turn] = []
    for turn in turns:
        text = turn.text.strip()
        if text:
            kept.append(turn._replace(text=text))
        elif turn.role != "system":
            raise turn.place.error(f"empty {turn.role} turn; write its text or take it out")
    if not any(turn.role == "assistant" for turn in kept):
        raise place.error("conversation without an assistant turn: nothing to learn; add one or drop it")
    return [
        {"role": role, "content": "\n".join(turn.text for turn in group)}
        for role, group in groupby(kept, key=lambda turn: turn.role)
    ]
