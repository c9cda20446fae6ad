"""Lists of messages: objects with a role and a text, plain texts in turn, or pairs of question and answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tinylm.data.readers.lines import Place
from tinylm.data.readers.preferences import check_mark
from tinylm.data.readers.read_summary import ReadSummary
from tinylm.data.readers.record_values import fail, fields_of, first_value, kind_of, shown, shown_keys, text_of
from tinylm.data.readers.turns import (
    ROLES,
    TOOLS,
    Turn,
    UnusableError,
    alternating,
    is_tool_role,
    known_role,
    roles_of_speakers,
)

ROLE_KEYS = ("role", "from", "speaker", "sender_class", "sender", "author", "agent", "speaker_id", "speaker_idx", "who")
TEXT_KEYS = ("content", "value", "text", "message", "utterance", "body", "sentence")
UNLEARNT = "replies marked as not to be learnt (weight 0 or the like), which are learnt all the same"
THOUGHTS = "thoughts of a model beside its replies"
OTHER_REPLIES = "replies that are not on the best line of their tree"

_TOOL_KEYS = ("tool_calls", "function_call", "tool_call", "tool_use", "toolCalls", "functionCall")
_MARK_KEYS = frozenset(
    {"label", "feedback", "thumbs_up", "thumbs_down", "is_bad", "is_good", "is_chosen", "is_rejected"}
)
_WEIGHT_KEYS = ("weight", "loss_weight", "train_on_turn", "train", "trainable", "loss", "compute_loss", "supervised")
_MASK_KEYS = ("masked", "mask", "ignore_loss", "no_loss")
_THOUGHT_KEYS = ("reasoning_content", "reasoning", "thinking", "thought", "thoughts")
_SPECIAL_KEYS = frozenset((*_TOOL_KEYS, *_MARK_KEYS, *_WEIGHT_KEYS, *_MASK_KEYS, *_THOUGHT_KEYS))
_PARENT_KEYS = ("parent_message_uuid", "parent_message_id", "parentMessageId", "parent_id", "parentId")
_PARENTS = frozenset(_PARENT_KEYS)
_ID_KEYS = ("uuid", "message_id", "messageId", "id")
# As programs write them: a text may well be "Human" or "AI"
_PAIR_ROLES = ("system", "user", "assistant", "human", "gpt", "bot", "model")
_PAIR_KEYS = (("input", "output"), ("question", "answer"), ("prompt", "response"), ("instruction", "output"))


def is_message(value: object) -> bool:
    """Whether a value is an object with a role's key."""
    return isinstance(value, dict) and first_value(value, ROLE_KEYS) is not None


def is_role_pair(value: object) -> bool:
    """Whether a value is a list of a role's name and a text."""
    return _is_pair(value) and isinstance(value, list | tuple) and value[0] in _PAIR_ROLES


def holds_messages(value: list[object]) -> bool:
    """Whether a list has an object with a role, as those of parts of a message have not."""
    return any(isinstance(part, dict) and ("role" in part or "from" in part) for part in value)


def turns_of_list(
    place: Place, messages: Sequence[object], summary: ReadSummary, *, in_marks: bool = False
) -> Iterator[Turn]:
    """The turns of a conversation that is a list.

    Args:
        place: where the conversation begins, for errors.
        messages: objects with a role and a text; texts or `[question, answer]` pairs, which begin with the user; or
            `[role, text]` pairs.
        summary: is told what of the messages is not read.
        in_marks: a text may stand in one pair of `<bos>` and `<eos>`.

    Raises:
        UnusableError: a turn of a tool, one that is no text, or a reply that is marked as bad.
        OddError: something else, or a role that is not known.
    """
    if not messages:
        return
    if is_message(messages[0]):
        line = _last_line(messages)
        if len(line) < len(messages):
            summary.dropped[OTHER_REPLIES] += len(messages) - len(line)
        yield from turns_of_messages([(place, message) for message in line], summary, in_marks=in_marks)
    elif is_role_pair(messages):
        fail(place, 'a role and a text by themselves; put those of one conversation under "messages"')
    elif all(message is None or isinstance(message, str) for message in messages):
        yield from alternating(place, [text_of(place, message, "a turn") for message in messages])
    elif all(_is_pair(message) for message in messages):
        yield from _turns_of_pairs(place, messages, summary)
    elif all(_is_exchange(message) for message in messages):
        for message in messages:
            assert isinstance(message, dict)
            asked, replied = next(pair for pair in _PAIR_KEYS if pair[0] in message and pair[1] in message)
            yield Turn("user", text_of(place, message[asked], asked), place)
            yield Turn("assistant", text_of(place, message[replied], replied), place)
    else:
        yield from turns_of_messages([(place, message) for message in messages], summary, in_marks=in_marks)


def turns_of_messages(
    messages: Sequence[tuple[Place, object]], summary: ReadSummary, *, in_marks: bool = False
) -> Iterator[Turn]:
    """The turns of messages that are objects, each with its own place."""
    if (plain := _plain_turns(messages)) is not None:
        for turn in plain:
            yield turn._replace(text=without_marks(turn.text)) if in_marks else turn
        return
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
                raise UnusableError(place, f"role {shown(name)}: tools are not read, so take the record out", TOOLS)
            fail(
                place,
                f"role {shown(name)} is not read, only system, user and assistant: "
                "rename the role or take the record out",
            )
        if not _SPECIAL_KEYS.isdisjoint(message):
            _check_calls(place, message)
            if role == "assistant":
                _check_reply(place, message, summary)
        text = text_of(place, _content_of(place, message), f"the {role} turn")
        yield Turn(role, without_marks(text) if in_marks else text, place)


def _plain_turns(messages: Sequence[tuple[Place, object]]) -> list[Turn] | None:
    """The turns of messages that hold a known role and a text and nothing else, as most do; None for others."""
    turns: list[Turn] = []
    for place, message in messages:
        if not isinstance(message, dict) or len(message) != 2:
            return None
        name, text = message.get("role"), message.get("content")
        if not isinstance(name, str) or not isinstance(text, str) or not text:
            return None
        role = ROLES.get(name)
        if role is None:
            return None
        turns.append(Turn(role, text_of(place, text, f"the {role} turn"), place))
    return turns


def without_marks(text: str) -> str:
    """The text inside its outer pair of `<bos>` and `<eos>`; a mark anywhere else is text."""
    inner = text.strip()
    if inner.startswith("<bos>") and inner.endswith("<eos>"):
        return inner.removeprefix("<bos>").removesuffix("<eos>")
    return text


def _check_calls(place: Place, message: Mapping[str, object]) -> None:
    for key in _TOOL_KEYS:
        if message.get(key):
            problem = f"a message has {key}; tools are not read, so take the record out"
            raise UnusableError(place, problem, TOOLS)


def _check_reply(place: Place, message: Mapping[str, object], summary: ReadSummary) -> None:
    check_mark(place, {key: message[key] for key in _MARK_KEYS if key in message})
    if any(key in message and _is_nothing(message[key]) for key in _WEIGHT_KEYS) or any(
        message.get(key) is True for key in _MASK_KEYS
    ):
        summary.remarks[UNLEARNT] += 1
    for key in _THOUGHT_KEYS:
        if message.get(key):
            summary.dropped[THOUGHTS] += 1


def _is_nothing(weight: object) -> bool:
    return str(weight).strip().lower() in ("0", "0.0", "false", "no")


def _content_of(place: Place, message: Mapping[str, object]) -> object:
    """What a message says: the first of its texts that is not empty."""
    content = message.get("content") or first_value(message, TEXT_KEYS)
    if content or (content is None and any(key in message for key in TEXT_KEYS)):
        return content
    if content is None:
        fields = fields_of(message)
        content = first_value(fields, TEXT_KEYS)
        if content is None:
            found = shown_keys(message)
            fail(place, f"a message has no text: looked for {', '.join(TEXT_KEYS)}; found keys {found}")
        return content
    return next((message[key] for key in TEXT_KEYS if message.get(key)), content)


def _name_of(place: Place, message: Mapping[str, object]) -> str:
    name = message.get("role")
    if name is None:
        name = first_value(message, ROLE_KEYS)
    if name is None:
        name = first_value(fields_of(message), ROLE_KEYS)
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


def _last_line(messages: Sequence[object]) -> Sequence[object]:
    """Of messages that name the one before them, the line that ends with the last; else all of them.

    A reply that was asked for again hangs on the same message as the first one.
    """
    last = messages[-1]
    if not isinstance(last, dict) or _PARENTS.isdisjoint(last):
        return messages
    ids = [_link(message, _ID_KEYS) for message in messages]
    parents = [_link(message, _PARENT_KEYS) for message in messages]
    if not all(ids) or not any(parents) or len(set(ids)) < len(ids):
        return messages
    places = {name: index for index, name in enumerate(ids) if name is not None}
    roots = sum(parent not in places for parent in parents)
    if roots != 1 or any(places.get(parent or "", -1) >= index for index, parent in enumerate(parents)):
        return messages
    line: list[object] = []
    index: int | None = len(messages) - 1
    while index is not None:
        line.append(messages[index])
        parent = parents[index]
        index = places.get(parent or "")
    return line[::-1] if len(line) > 1 else messages


def _link(message: object, keys: Sequence[str]) -> str | None:
    value = first_value(message, keys) if isinstance(message, dict) else None
    return str(value) if isinstance(value, str | int) and value != "" else None


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


def _turns_of_pairs(place: Place, pairs: Sequence[object], summary: ReadSummary) -> Iterator[Turn]:
    texts = [[text_of(place, text, "a turn") for text in pair] for pair in pairs if isinstance(pair, list | tuple)]
    if all(is_role_pair(pair) for pair in pairs):
        yield from turns_of_messages([(place, {"role": name, "content": text}) for name, text in texts], summary)
    else:
        yield from alternating(place, [text for pair in texts for text in pair])
