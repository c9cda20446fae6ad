"""The chat format: how documents and conversations become token ids and a loss mask.

Training, evaluation, export, the runtime and the server all encode here. TinyLM's own format is::

    <bos> <system> text <user> text <assistant> text <eos> <user> text <assistant> text <eos>

and a document `<bos> text <eos>`. A model that was imported keeps the format that it knows, as ChatML: a `ChatFormat`
says which ids stand before and after each role's text. No template is run. The text of a turn is tokenized on its own
and never becomes a control symbol, so that a user who types `<assistant>` or `<|im_start|>` forges nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypedDict

import msgspec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CHAT_FORMAT_VERSION = 1
"""Version of TinyLM's own format."""

IMPORTED_FORMAT_VERSION = 2
"""Version of bundles whose manifest describes their format."""

OWN_FAMILY = "tinylm"

Role = Literal["system", "user", "assistant"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant")


class Message(TypedDict):
    """One turn of a conversation."""

    role: Role
    content: str


Conversation = list[Message]
Example = str | Conversation
"""What a model is trained on: a document or a conversation."""


class TurnFormat(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What stands around the text of a role's message.

    Attributes:
        before: ids before the text.
        prefix: text that is encoded together with the message's, as the space of a SentencePiece model's first word.
        after: ids behind the text.
    """

    before: list[int]
    prefix: str = ""
    after: list[int] = []


class ChatFormat(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How documents and conversations are made of ids.

    Attributes:
        family: name of the format, as chatml; tinylm for TinyLM's own.
        bos: the id that opens a document, and each row of training.
        eos: the id that ends a document; it may be the same as `bos`.
        opening: ids before the first turn of a conversation.
        system, user, assistant: what stands around the text of each role.
        ends: ids that end a reply.
        default_system: the system message of a conversation that has none of its own; None: there is none.
        merges_system: the system message is a part of the user's first turn: nothing stands before the text of a user
            that follows it.
        trims: white space at both ends of a message is removed.
        text_prefix: text that is put before a document, as the space of a SentencePiece model's first word.
    """

    family: str
    bos: int
    eos: int
    opening: list[int]
    system: TurnFormat
    user: TurnFormat
    assistant: TurnFormat
    ends: list[int]
    default_system: str | None = None
    merges_system: bool = False
    trims: bool = False
    text_prefix: str = ""

    @property
    def is_own(self) -> bool:
        """Whether this is TinyLM's own format."""
        return self.family == OWN_FAMILY

    def turn(self, role: Role) -> TurnFormat:
        """What stands around the text of a role."""
        turn: TurnFormat = getattr(self, role)
        return turn

    @property
    def markers(self) -> set[int]:
        """All ids that stand around texts."""
        around = [self.bos, self.eos, *self.opening, *self.ends]
        return {*around, *(id_ for role in ROLES for id_ in (*self.turn(role).before, *self.turn(role).after))}


def own_format(bos: int, eos: int, role_ids: dict[Role, int]) -> ChatFormat:
    """TinyLM's own format, of one control symbol a role."""
    return ChatFormat(
        family=OWN_FAMILY,
        bos=bos,
        eos=eos,
        opening=[bos],
        system=TurnFormat(before=[role_ids["system"]]),
        user=TurnFormat(before=[role_ids["user"]]),
        assistant=TurnFormat(before=[role_ids["assistant"]], after=[eos]),
        ends=[eos],
    )


class ChatTokenizer(Protocol):
    """What the chat format needs of a tokenizer."""

    @property
    def chat_format(self) -> ChatFormat:
        """How its ids become conversations."""
        ...

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text, without control symbols."""
        ...

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of many texts, equal to `encode` of each."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids; control symbols have none."""
        ...


def texts_of(example: Example) -> list[str]:
    """The texts of an example: the document, or the contents of the messages."""
    return [example] if isinstance(example, str) else [message["content"] for message in example]


def encode_turn(tokenizer: ChatTokenizer, message: Message, *, follows_system: bool = False) -> list[int]:
    """Encode one turn: the text, and the ids before and after it.

    Args:
        tokenizer: encodes the text.
        message: the turn.
        follows_system: whether the turn before it is the system message.
    """
    form = tokenizer.chat_format
    text, turn = _text_and_turn(form, message, follows_system)
    return [*turn.before, *tokenizer.encode(text), *turn.after]


def encode_conversation(tokenizer: ChatTokenizer, conversation: Sequence[Message]) -> list[int]:
    """Encode a conversation: the opening, the format's system message if there is none of its own, and every turn."""
    ids = [*tokenizer.chat_format.opening]
    before: Role | None = None
    for message in _with_system(tokenizer.chat_format, conversation):
        ids += encode_turn(tokenizer, message, follows_system=before == "system")
        before = message["role"]
    return ids


def encode_prompt(tokenizer: ChatTokenizer, conversation: Sequence[Message]) -> list[int]:
    """Encode a conversation up to and with the ids that open the assistant's next reply."""
    return [*encode_conversation(tokenizer, conversation), *tokenizer.chat_format.assistant.before]


def encode_continuation(tokenizer: ChatTokenizer, conversation: Sequence[Message]) -> list[int]:
    """Encode a conversation whose last message, the assistant's, is to be continued: without the ids behind it."""
    if not conversation or conversation[-1]["role"] != "assistant":
        raise ValueError("the last message must be the assistant's")
    ids = encode_conversation(tokenizer, conversation)
    return ids[: len(ids) - len(tokenizer.chat_format.assistant.after)]


def encode_reply(tokenizer: ChatTokenizer, text: str) -> list[int]:
    """Encode a reply as a model generates it: the text, and the id that ends it."""
    form = tokenizer.chat_format
    return [*tokenizer.encode(form.assistant.prefix + text), form.ends[0]]


def decode_turn(tokenizer: ChatTokenizer, role: Role, ids: Sequence[int]) -> str:
    """The text of a turn, of which an end may be cut off."""
    turn = tokenizer.chat_format.turn(role)
    inner = list(ids[len(turn.before) :])
    size = next((size for size in range(len(turn.after), 0, -1) if inner[-size:] == turn.after[:size]), 0)
    return tokenizer.decode(inner[: len(inner) - size]).removeprefix(turn.prefix)


def encode_text_prompt(tokenizer: ChatTokenizer, text: str) -> list[int]:
    """Encode raw text to be continued: `bos` and the text, without a role."""
    form = tokenizer.chat_format
    return [form.bos, *tokenizer.encode(form.text_prefix + text if text else "")]


def encode_examples(tokenizer: ChatTokenizer, examples: Sequence[Example]) -> list[list[int]]:
    """Encode many documents and conversations, each without what opens it; a document ends with `eos`."""
    form = tokenizer.chat_format
    plans = [_plan(form, example) for example in examples]
    texts = iter(tokenizer.encode_batch([text for plan in plans for text, _ in plan]))
    return [[id_ for _, turn in plan for id_ in (*turn.before, *next(texts), *turn.after)] for plan in plans]


class TurnStarts(NamedTuple):
    """Where turns begin in token ids.

    Attributes:
        roles: the role of each turn.
        starts: the place of the first id of each.
    """

    roles: list[Role]
    starts: list[int]


def find_turns(tokenizer: ChatTokenizer, ids: NDArray[Any]) -> TurnStarts:
    """Find the turns of a conversation by the ids before their texts.

    Args:
        tokenizer: what encoded the ids.
        ids: of one sequence.
    """
    import numpy as np

    found = _turn_events(tokenizer.chat_format, ids)
    starts = np.flatnonzero(found).tolist()
    return TurnStarts([ROLES[found[start] - 1] for start in starts], starts)


def loss_mask(tokenizer: ChatTokenizer, ids: NDArray[Any]) -> NDArray[np.bool_]:
    """Find the tokens that the model learns to predict: all of a document, the assistants' texts and what ends them.

    Decided by the ids alone. The same ids have the same mask whether a conversation is whole or cut between turns.

    Args:
        tokenizer: what encoded the ids.
        ids: sequences along the last axis, with or without `bos`.

    Returns:
        bool, of the shape of `ids`.
    """
    import numpy as np  # here: `--help` of commands that import this module needs none

    form = tokenizer.chat_format
    turns = _turn_events(form, ids)
    is_opening = (ids == form.bos) & (turns == 0)
    places = np.arange(ids.shape[-1])
    last = np.maximum.accumulate(np.where(is_opening | (turns > 0), places, 0), axis=-1)
    role = np.take_along_axis(turns, last, axis=-1)
    is_marker = np.zeros(ids.shape, np.bool_)
    for number, name in enumerate(ROLES, start=1):
        is_marker |= (role == number) & (places - last < len(form.turn(name).before))
    # A reply is over with the first id that ends it
    is_end = _is_any(ids, form.ends)
    ends_before: NDArray[np.int64] = np.cumsum(is_end, axis=-1) - is_end
    is_over = ends_before > np.take_along_axis(ends_before, last, axis=-1)
    is_reply = (role == 1 + ROLES.index("assistant")) & ~is_over
    learned = (role == 0) | is_reply
    mask: NDArray[np.bool_] = learned & ~is_marker & ~is_opening
    if form.bos == form.eos:
        # One id ends a document and opens the next: it is the end where it stands behind what is learned
        mask[..., 1:] |= is_opening[..., 1:] & learned[..., :-1] & ~is_opening[..., :-1]
    return mask


def _turn_events(form: ChatFormat, ids: NDArray[Any]) -> NDArray[np.int8]:
    """1 + the index in `ROLES` of the role whose turn begins at a place, else 0."""
    import numpy as np

    events = np.zeros(ids.shape, np.int8)
    # The longest last: what stands before a system message may begin as what stands before a user's
    for role in sorted(ROLES, key=lambda role: len(form.turn(role).before)):
        pattern = form.turn(role).before
        size = ids.shape[-1] - len(pattern) + 1
        if size <= 0:
            continue
        found = ids[..., :size] == pattern[0]
        for offset, id_ in enumerate(pattern[1:], start=1):
            found &= ids[..., offset : offset + size] == id_
        events[..., :size][found] = 1 + ROLES.index(role)
    return events


def _is_any(ids: NDArray[Any], wanted: Sequence[int]) -> NDArray[np.bool_]:
    import numpy as np

    found = np.zeros(ids.shape, np.bool_)
    for id_ in wanted:
        found |= ids == id_
    return found


def _with_system(form: ChatFormat, conversation: Sequence[Message]) -> Sequence[Message]:
    if form.default_system is None or (conversation and conversation[0]["role"] == "system"):
        return conversation
    return [Message(role="system", content=form.default_system), *conversation]


def _text_and_turn(form: ChatFormat, message: Message, follows_system: bool) -> tuple[str, TurnFormat]:
    """The text of a turn as it is encoded, and what stands around it."""
    turn = form.turn(message["role"])
    if follows_system and form.merges_system and message["role"] == "user":
        turn = TurnFormat(before=[], after=turn.after)
    text = message["content"].strip() if form.trims else message["content"]
    return turn.prefix + text, turn


def _plan(form: ChatFormat, example: Example) -> list[tuple[str, TurnFormat]]:
    """The texts of an example, and what stands around each."""
    if isinstance(example, str):
        return [(form.text_prefix + example if example else "", TurnFormat(before=[], after=[form.eos]))]
    if not example:
        return []
    messages = _with_system(form, example)
    follows = [False, *(message["role"] == "system" for message in messages)]
    return [_text_and_turn(form, *pair) for pair in zip(messages, follows, strict=False)]
