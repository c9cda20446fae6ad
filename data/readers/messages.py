"""Lists of messages: objects with a role and a text, plain texts in turn, or pairs of question and answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tinylm.data.readers.lines import Place
from tinylm.data.readers.record_values import fail, first_value, kind_of, shown, shown_keys, text_of
from tinylm.data.readers.turns import (
    Turn,
    UnusableError,
    alternating,
    is_tool_role,
    known_role,
    roles_of_speakers,
)

ROLE_KEYS = ("role", "from", "speaker", "sender_class", "sender", "author", "agent", "speaker_id", "speaker_idx", "who")
TEXT_KEYS = ("content", "value", "text", "message", "utterance", "body", "sentence")
_TOOL_KEYS = ("tool_calls", "function_call")
# As programs write them: a text may well be "Human" or "AI"
_PAIR_ROLES = ("system", "user", "assistant", "human", "gpt", "bot", "model")
_PAIR_KEYS = (("input", "output"), ("question", "answer"), ("prompt", "response"), ("instruction", "output"))
_TOOL_REASON = "tools, which a model here cannot call"


def is_message(value: object) -> bool:
    """Whether a value is an object with a role's key."""
    return isinstance(value, dict) and any(value.get(key) is not None for key in ROLE_KEYS)


def is_role_pair(value: object) -> bool:
    """Whether a value is a list of a role's name and a text."""
    return _is_pair(value) and isinstance(value, list | tuple) and value[0] in _PAIR_ROLES


def turns_of_list(place: Place, messages: Sequence[object], in_marks: bool = False) -> Iterator[Turn]:
    """The turns of a conversation that is a list.

    Args:
        place: where the conversation begins, for errors.
        messages: objects with a role and a text; texts or `[question, answer]` pairs, which begin with the user; or
            `[role, text]` pairs.
        in_marks: a text may stand in one pair of `<bos>` and `<eos>`.

    Raises:
        UnusableError: a turn of a tool, or one that is no text.
        DataError: something else, or a role that is not known.
    """
    if not messages:
        return
    if is_role_pair(messages):
        fail(place, 'a role and a text by themselves; put those of one conversation under "messages"')
    if all(isinstance(message, str) for message in messages):
        yield from alternating(place, [text_of(place, message, "a turn") for message in messages])
    elif all(_is_pair(message) for message in messages):
        yield from _turns_of_pairs(place, messages)
    elif all(_is_exchange(message) for message in messages):
        for message in messages:
            assert isinstance(message, dict)
            asked, replied = next(pair for pair in _PAIR_KEYS if pair[0] in message and pair[1] in message)
            yield Turn("user", text_of(place, message[asked], asked), place)
            yield Turn("assistant", text_of(place, message[replied], replied), place)
    else:
        yield from turns_of_messages([(place, message) for message in messages], in_marks)


def turns_of_messages(messages: Sequence[tuple[Place, object]], in_marks: bool = False) -> Iterator[Turn]:
    """The turns of messages that are objects, each with its own place."""
    names: list[str] = []
    for place, message in messages:
        if not isinstance(message, dict):
            fail(place, f"a message must be an object with a role, found {kind_of(message)}")
        names.append(_name_of(place, message))
    speakers = roles_of_speakers(names) if _has_strangers(messages, names) else None
    for (place, message), name in zip(messages, names, strict=True):
        assert isinstance(message, dict)
        role = known_role(name) if speakers is None else speakers[name]
        if role is None:
            if is_tool_role(name):
                raise UnusableError(
                    place, f"role {shown(name)}: tools are not read, so take the record out", _TOOL_REASON
                )
            fail(
                place,
                f"role {shown(name)} is not read, only system, user and assistant: "
                "rename the role or take the record out",
            )
        for key in _TOOL_KEYS:
            if message.get(key):
                problem = f"a message has {key}; tools are not read, so take the record out"
                raise UnusableError(place, problem, _TOOL_REASON)
        content = first_value(message, TEXT_KEYS)
        if content is None:
            found = shown_keys(message)
            fail(place, f"a message has no text: looked for {', '.join(TEXT_KEYS)}; found keys {found}")
        text = text_of(place, content, f"the {role} turn")
        yield Turn(role, without_marks(text) if in_marks else text, place)


def without_marks(text: str) -> str:
    """The text inside its outer pair of `<bos>` and `<eos>`; a mark anywhere else is text."""
    inner = text.strip()
    if inner.startswith("<bos>") and inner.endswith("<eos>"):
        return inner.removeprefix("<bos>").removesuffix("<eos>")
    return text


def _name_of(place: Place, message: Mapping[str, object]) -> str:
    name = first_value(message, ROLE_KEYS)
    if isinstance(name, dict):
        name = name.get("role")
    if name is None:
        fail(
            place,
            f"a message has no role: looked for role, from, speaker, sender, author; found keys {shown_keys(message)}",
        )
    if isinstance(name, int) and not isinstance(name, bool):
        return str(name)
    if not isinstance(name, str):
        fail(place, f"a role must be a text, found {kind_of(name)}")
    return name


def _has_strangers(messages: Sequence[tuple[Place, object]], names: Sequence[str]) -> bool:
    """Whether who speaks is told by other means than the names of the roles."""
    if any(known_role(name) is None for name in names):
        return True
    # In records of tasks, SYSTEM is what answers
    return all(isinstance(message, dict) and "speaker" in message for _, message in messages) and "system" in {
        name.strip().lower() for name in names[1:]
    }


def _is_pair(message: object) -> bool:
    return isinstance(message, list | tuple) and len(message) == 2 and all(isinstance(text, str) for text in message)


def _is_exchange(message: object) -> bool:
    return (
        isinstance(message, dict)
        and not is_message(message)
        and any(asked in message and replied in message for asked, replied in _PAIR_KEYS)
    )


def _turns_of_pairs(place: Place, pairs: Sequence[object]) -> Iterator[Turn]:
    texts = [[text_of(place, text, "a turn") for text in pair] for pair in pairs if isinstance(pair, list | tuple)]
    if all(is_role_pair(pair) for pair in pairs):
        yield from turns_of_messages([(place, {"role": name, "content": text}) for name, text in texts])
    else:
        yield from alternating(place, [text for pair in texts for text in pair])
