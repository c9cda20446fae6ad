"""Roles and turns: what every form of conversation is made of before it becomes a `Conversation`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from tinylm.chat_format import Conversation, Role
from tinylm.data.readers.lines import Place
from tinylm.errors import DataError

ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "ai": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
}
"""The names that are in use for the roles, in lower case."""

TOOL_ROLES = frozenset(
    {"tool", "tool_call", "tool_calls", "tool_response", "tool_result", "function", "function_call"}
    | {"function_response", "observation", "ipython"}
)
_ALTERNATING: tuple[Role, Role] = ("user", "assistant")
# Two speakers that differ in a number or letter alone: nobody's real name
_NUMBERED = re.compile(r"(user|speaker|person|agent|participant|human|bot|p|s)?[ _-]?([0-9]|[ab])")


class UnusableError(DataError):
    """A conversation that is understood but that cannot be learnt from: it is left out and counted.

    Attributes:
        reason: a few words, the same for all that are left out for it.
    """

    def __init__(self, place: Place, problem: str, reason: str) -> None:
        super().__init__(place.path, place.line, problem + place.suffix)
        self.reason = reason


class NotConversationsError(DataError):
    """The file holds documents where conversations were asked for."""


class Turn(NamedTuple):
    """One turn as a file has it."""

    role: Role
    text: str
    place: Place


class Dialogue(NamedTuple):
    """A conversation as a file has it, before it is built.

    Going over its turns may raise `UnusableError`, where it is to be left out, or another `DataError`.
    """

    place: Place
    turns: Iterable[Turn]
    form: str


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
        UnusableError: an empty user's or assistant's turn, or no assistant's turn.
    """
    kept: list[Turn] = []
    for turn in turns:
        text = turn.text.strip()
        if text:
            kept.append(turn._replace(text=text))
        elif turn.role != "system":
            problem = f"empty {turn.role} turn; write its text or take it out"
            raise UnusableError(turn.place, problem, f"an empty {turn.role} turn")
    if not any(turn.role == "assistant" for turn in kept):
        problem = "conversation without an assistant turn: nothing to learn; add one or drop it"
        raise UnusableError(place, problem, "no assistant turn")
    return [
        {"role": role, "content": "\n".join(turn.text for turn in group)}
        for role, group in groupby(kept, key=lambda turn: turn.role)
    ]


def alternating(place: Place, texts: Iterable[str]) -> Iterator[Turn]:
    """Turns of texts without roles: the user begins, and the assistant replies."""
    for index, text in enumerate(texts):
        yield Turn(_ALTERNATING[index % 2], text, place)


def known_role(name: str) -> Role | None:
    """The role that a name stands for, whatever its case."""
    return ROLES.get(name.strip().lower())


def is_tool_role(name: str) -> bool:
    """Whether a name stands for a tool's turn or the call of one."""
    return name.strip().lower().replace("-", "_") in TOOL_ROLES


def roles_of_speakers(names: Sequence[str]) -> dict[str, Role] | None:
    """The roles of two speakers that have no telling names.

    Args:
        names: who speaks, turn by turn.

    Returns:
        The first to speak as the user and the other as the assistant, where they are numbered (`agent_1`,
        `Speaker B`, `0`); USER and SYSTEM of a task, where the system answers. None where roles cannot be known.
    """
    distinct = list(dict.fromkeys(names))
    lowered = [name.strip().lower() for name in distinct]
    if lowered == ["user", "system"]:
        return {distinct[0]: "user", distinct[1]: "assistant"}
    if len(distinct) > 2:
        return None
    matches = [_NUMBERED.fullmatch(name) for name in lowered]
    if not all(matches) or len({match[1] for match in matches if match}) > 1:
        return None
    return dict(zip(distinct, _ALTERNATING, strict=False))
