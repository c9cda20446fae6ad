"""The chat format: how documents and conversations become token ids and a loss mask.

Training, evaluation, export, the runtime and the server all encode here. A conversation becomes::

    <bos> <system> text <user> text <assistant> text <eos> <user> text <assistant> text <eos>

and a document `<bos> text <eos>`. Roles, `<bos>` and `<eos>` are control symbols that are placed by id. The text of a
turn is tokenized on its own and never becomes a control symbol, so that a user who types `<assistant>` forges nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CHAT_FORMAT_VERSION = 1

Role = Literal["system", "user", "assistant"]


class Message(TypedDict):
    """One turn of a conversation."""

    role: Role
    content: str


Conversation = list[Message]
Example = str | Conversation
"""What a model is trained on: a document or a conversation."""


class ChatTokenizer(Protocol):
    """What the chat format needs of a tokenizer."""

    bos_id: int
    eos_id: int
    role_ids: dict[Role, int]

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text, without control symbols."""
        ...

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of many texts, equal to `encode` of each."""
        ...


def texts_of(example: Example) -> list[str]:
    """The texts of an example: the document, or the contents of the messages."""
    return [example] if isinstance(example, str) else [message["content"] for message in example]


def encode_turn(tokenizer: ChatTokenizer, message: Message) -> list[int]:
    """Encode one turn: the role's symbol, the text and, after an assistant's text, `<eos>`."""
    return _turn(tokenizer, message["role"], tokenizer.encode(message["content"]))


def encode_conversation(tokenizer: ChatTokenizer, conversation: Sequence[Message]) -> list[int]:
    """Encode a conversation: `<bos>` and every turn."""
    ids = [tokenizer.bos_id]
    for message in conversation:
        ids += encode_turn(tokenizer, message)
    return ids


def encode_prompt(tokenizer: ChatTokenizer, conversation: Sequence[Message]) -> list[int]:
    """Encode a conversation up to and with the `<assistant>` symbol that opens the next reply."""
    return [*encode_conversation(tokenizer, conversation), tokenizer.role_ids["assistant"]]


def encode_continuation(tokenizer: ChatTokenizer, conversation: Sequence[Message]) -> list[int]:
    """Encode a conversation whose last message, the assistant's, is to be continued: without its `<eos>`."""
    if not conversation or conversation[-1]["role"] != "assistant":
        raise ValueError("the last message must be the assistant's")
    return encode_conversation(tokenizer, conversation)[:-1]


def encode_text_prompt(tokenizer: ChatTokenizer, text: str) -> list[int]:
    """Encode raw text to be continued: `<bos>` and the text, without a role."""
    return [tokenizer.bos_id, *tokenizer.encode(text)]


def encode_examples(tokenizer: ChatTokenizer, examples: Sequence[Example]) -> list[list[int]]:
    """Encode many documents and conversations, each without its `<bos>`; a document ends with `<eos>`."""
    texts = iter(tokenizer.encode_batch([text for example in examples for text in texts_of(example)]))
    encoded: list[list[int]] = []
    for example in examples:
        if isinstance(example, str):
            ids = [*next(texts), tokenizer.eos_id]
        else:
            ids = []
            for message in example:
                ids += _turn(tokenizer, message["role"], next(texts))
        encoded.append(ids)
    return encoded


def loss_mask(tokenizer: ChatTokenizer, ids: NDArray[Any]) -> NDArray[np.bool_]:
    """Find the tokens that the model learns to predict: all of a document, the assistants' texts and their `<eos>`.

    Decided by the control symbols alone. The same ids have the same mask whether a conversation is whole or cut.

    Args:
        tokenizer: what encoded the ids.
        ids: sequences along the last axis, with or without `<bos>`.

    Returns:
        bool, of the shape of `ids`.
    """
    import numpy as np  # here: `--help` of commands that import this module needs none

    symbols = np.isin(ids, [tokenizer.bos_id, *tokenizer.role_ids.values()])
    positions = np.where(symbols, np.arange(ids.shape[-1]), 0)
    last_symbol = np.take_along_axis(ids, np.maximum.accumulate(positions, axis=-1), axis=-1)
    unsupervised = [tokenizer.role_ids["system"], tokenizer.role_ids["user"]]
    mask: NDArray[np.bool_] = ~symbols & ~np.isin(last_symbol, unsupervised)
    return mask


def _turn(tokenizer: ChatTokenizer, role: Role, text_ids: list[int]) -> list[int]:
    ids = [tokenizer.role_ids[role], *text_ids]
    if role == "assistant":
        ids.append(tokenizer.eos_id)
    return ids
