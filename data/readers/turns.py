"""Roles and turns: what every form of conversation is made of before it becomes a `Conversation`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tinylm.chat_format import Conversation, Role
from tinylm.data.readers.lines import Place
from tinylm.data.readers.read_summary import NOT_UNDERSTOOD
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
"""The names that are in use for the roles, in lower case; of each role the most certain name first."""

TOOL_ROLES = frozenset(
    {"tool", "tools", "tool_call", "tool_calls", "tool_use", "tool_response", "tool_result", "tool_results"}
    | {"tool_output", "function", "functions", "function_call", "function_calls", "function_response"}
    | {"function_result", "function_output", "observation", "ipython", "api_call", "api_response"}
)
TOOLS = "tools, which a model here cannot call"
PICTURES = "parts that are no text"
BAD_REPLIES = "replies marked as bad"
_ALTERNATING: tuple[Role, Role] = ("user", "assistant")
# Two speakers that differ in a number or letter alone: nobody's real name
_NUMBERED = re.compile(
    r"(user|speaker|person|agent|participant|human|bot|p|s)?(?:[ _-]?(\d{1,6}|[ab])|(?<=[a-z])[ _-]([a-z]))"
)
_TOOL_TEXT = re.compile(
    r"</?(?:tool_call|tool_calls|tool_response|tool_result|functioncall|function_call|function_calls|function_response)>"
    r"|<\|(?:tool_call|tool_calls_begin|tool_calls_section_begin|tool_call_begin|python_tag|function_call)\|>"
    r"|<\uff5ctool\u2581calls?\u2581begin\uff5c>|\[TOOL_CALLS\]|<function=\w"
)
# With which programs end a turn or a text; at the end of a text they are none of it
_END_MARKS = ("<|endoftext|>", "<|im_end|>", "<|eot_id|>", "<|end_of_text|>", "<|end|>")
_END_MARK = re.compile(rf"\s*(?:(?:{'|'.join(map(re.escape, _END_MARKS))})\s*)+\Z")
# What stands for a picture in a question. In the middle of a text, `<video>` may well be HTML that is talked about
_PICTURE = re.compile(
    r"\A\s*<image(?:_?\d+)?>|\A\s*<(?:video|audio)>[ \t]*(?:\n|\Z)"
    r"|(?:\A|\n)[ \t]*<(?:image(?:_?\d+)?|video|audio)>\s*\Z"
    r"|<\|(?:image|video|audio|image_pad|video_pad|vision_start|image_start|image_\d+)\|>"
)


class UnusableError(DataError):
    """A conversation or text that is understood but cannot be learnt from: it is left out and counted.

    Attributes:
        place: where it is.
        what: what is wrong with it.
        reason: a few words, the same for all that are left out for it.
    """

    def __init__(self, place: Place, problem: str, reason: str) -> None:
        super().__init__(place.path, place.line, problem + place.suffix)
        self.place, self.what, self.reason = place, problem, reason


class OddError(UnusableError):
    """A record or line that is not understood. It is left out and counted; too many of them make the file refused."""

    def __init__(self, place: Place, problem: str) -> None:
        super().__init__(place, problem, NOT_UNDERSTOOD)


class NotConversationsError(OddError):
    """Documents where conversations were asked for."""


class PeopleError(OddError):
    """A conversation of people by name: who is the assistant, only the user can say.

    Attributes:
        names: who speaks, turn by turn.
    """

    def __init__(self, place: Place, names: Sequence[str], problem: str = "messages are by people") -> None:
        super().__init__(place, problem)
        self.names = names


class AbsentError(UnusableError):
    """A conversation of people of whom none is the one that was named as the assistant.

    Attributes:
        names: who speaks, turn by turn.
    """

    def __init__(self, place: Place, names: Sequence[str], assistant: str) -> None:
        super().__init__(place, f"no message is by {assistant}", "no message by the named assistant")
        self.names = names


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


class Document(NamedTuple):
    """A text for pre-training as a file has it."""

    place: Place
    text: str
    form: str


Part = Dialogue | Document | UnusableError
"""What readers make of a file: conversations, documents, and why something in it is neither."""


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
        UnusableError: an empty user's or assistant's turn, no assistant's turn, or a call of a tool.
    """
    conversation: Conversation = []
    parts: list[str] = []
    replies = False
    for role, text, at in turns:
        text = text.strip()
        if text.endswith(_END_MARKS):
            text = _END_MARK.sub("", text)
        if not text:
            if role == "system":
                continue
            problem = f"empty {role} turn; write its text or take it out"
            raise UnusableError(at, problem, f"an empty {role} turn")
        if role != "system" and ("<" in text or "[TOOL" in text):
            _check_text(role, text, at)
        replies |= role == "assistant"
        if conversation and conversation[-1]["role"] == role:
            parts.append(text)
            continue
        if len(parts) > 1:
            conversation[-1]["content"] = "\n".join(parts)
        conversation.append({"role": role, "content": text})
        parts = [text]
    if not replies:
        problem = "conversation without an assistant turn: nothing to learn; add one or drop it"
        raise UnusableError(place, problem, "no assistant turn")
    if len(parts) > 1:
        conversation[-1]["content"] = "\n".join(parts)
    return conversation


def _check_text(role: Role, text: str, place: Place) -> None:
    """See that a turn is no call of a tool and that nothing in it stands for a picture.

    Raises:
        UnusableError: it is, or something does.
    """
    if (call := _TOOL_TEXT.search(text)) is not None:
        problem = f"a turn has {call[0]}: tools are not read, so take the record out"
        raise UnusableError(place, problem, TOOLS)
    if role == "user" and (mark := _PICTURE.search(text)) is not None:
        problem = f"{mark[0].strip()} stands for a picture or the like; only text is read, so take the record out"
        raise UnusableError(place, problem, PICTURES)


def alternating(place: Place, texts: Iterable[str]) -> Iterator[Turn]:
    """Turns of texts without roles: the user begins, and the assistant replies."""
    for index, text in enumerate(texts):
        yield Turn(_ALTERNATING[index % 2], text, place)


def known_role(name: str) -> Role | None:
    """The role that a name stands for, whatever its case."""
    return ROLES.get(name) or ROLES.get(name.strip().lower())


def is_tool_role(name: str) -> bool:
    """Whether a name stands for a tool's turn or the call of one."""
    return re.sub(r"[\s-]+", "_", name.strip().lower()) in TOOL_ROLES


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
