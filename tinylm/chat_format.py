"""The one chat format: training, export, the runtime and the server all turn conversations into token ids here.

A conversation becomes::

    <bos> <system> text <user> text <assistant> text <eos> <user> text <assistant> text <eos>

Roles, `<bos>` and `<eos>` are control symbols that are placed by id. The text of a turn is tokenized on its own and
can never become a control symbol, so a user who types `<assistant>` forges nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, TypedDict

CHAT_FORMAT_VERSION = 1

Role = Literal["system", "user", "assistant"]


class Message(TypedDict):
    """One turn of a conversation."""

    role: Role
    content: str


Conversation = list[Message]


class ChatTokenizer(Protocol):
    """What the chat format needs of a tokenizer."""

    bos_id: int
    eos_id: int
    role_ids: dict[Role, int]

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text: never a control symbol."""
        ...


def encode_turn(tokenizer: ChatTokenizer, message: Message) -> tuple[list[int], list[bool]]:
    """One turn as token ids, and which of them the model is to learn to say.

    Returns:
        ids: the role symbol, the text and, after an assistant's turn, `<eos>`.
        supervised: of the same length; True on the text and the `<eos>` of an assistant's turn, else False.
    """
    text_ids = tokenizer.encode(message["content"])
    if message["role"] == "assistant":
        return (
            [tokenizer.role_ids["assistant"], *text_ids, tokenizer.eos_id],
            [False, *[True] * len(text_ids), True],
        )
    return [tokenizer.role_ids[message["role"]], *text_ids], [False] * (len(text_ids) + 1)


def encode_conversation(tokenizer: ChatTokenizer, conversation: Sequence[Message]) -> tuple[list[int], list[bool]]:
    """A whole conversation as token ids with its loss mask, for training and evaluation.

    Returns:
        ids: `<bos>` and then every turn.
        supervised: of the same length; see `encode_turn`.
    """
    ids, supervised = [tokenizer.bos_id], [False]
    for message in conversation:
        turn_ids, turn_supervised = encode_turn(tokenizer, message)
        ids += turn_ids
        supervised += turn_supervised
    return ids, supervised


def encode_prompt(tokenizer: ChatTokenizer, conversation: Sequence[Message]) -> list[int]:
    """A conversation that waits for the assistant's reply: its ids end with the `<assistant>` symbol."""
    ids, _ = encode_conversation(tokenizer, conversation)
    return [*ids, tokenizer.role_ids["assistant"]]


def encode_continuation(tokenizer: ChatTokenizer, conversation: Sequence[Message]) -> list[int]:
    """A conversation whose last message, the assistant's, is unfinished: its ids end with that message's text."""
    if not conversation or conversation[-1]["role"] != "assistant":
        raise ValueError("the last message must be the assistant's")
    ids, _ = encode_conversation(tokenizer, conversation)
    return ids[:-1]
