"""Log-probabilities in the forms of the APIs."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Any

from tinylm.runtime.logprobs import TokenLogprob
from tinylm.tokenizer import Tokenizer

_LEAST = -9999.0
"""What stands for the log-probability of the impossible, which JSON has no number for; OpenAI's API writes it so."""


def chat_logprobs(tokenizer: Tokenizer, entries: Sequence[TokenLogprob]) -> list[dict[str, Any]]:
    """As OpenAI's chat completions and responses, and Ollama's API, list them: `content`."""
    return [
        {
            **_token(tokenizer, entry.id, entry.logprob),
            "top_logprobs": [_token(tokenizer, id_, logprob) for id_, logprob in entry.top],
        }
        for entry in entries
    ]


def completion_logprobs(
    tokenizer: Tokenizer, entries: Sequence[TokenLogprob], offset: int, alternatives: int
) -> dict[str, Any]:
    """As OpenAI's completions list them.

    Args:
        tokenizer: of the model.
        entries: the tokens.
        offset: characters of the choice's text before them.
        alternatives: that were asked for.
    """
    offsets, characters = [], codecs.getincrementaldecoder("utf-8")("replace")
    for entry in entries:
        offsets.append(offset)
        offset += len(characters.decode(tokenizer.bytes_of(entry.id)))
    return {
        "tokens": [token_text(tokenizer, entry.id) for entry in entries],
        "token_logprobs": [_number(entry.logprob) for entry in entries],
        "top_logprobs": [_top(tokenizer, entry) for entry in entries] if alternatives else None,
        "text_offset": offsets,
    }


def token_text(tokenizer: Tokenizer, id_: int) -> str:
    """A token as text: its characters, the name of a control symbol, or its bytes where they are no whole character."""
    text = tokenizer.text_of(id_)
    if text:
        return text
    data = tokenizer.bytes_of(id_)
    return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data) if data else tokenizer.piece_of(id_)


def _top(tokenizer: Tokenizer, entry: TokenLogprob) -> dict[str, float | None] | None:
    if entry.logprob is None:
        return None
    top: dict[str, float | None] = {}
    for id_, logprob in entry.top:  # likeliest first: of two tokens with the same text, the likelier stays
        top.setdefault(token_text(tokenizer, id_), _number(logprob))
    return top


def _token(tokenizer: Tokenizer, id_: int, logprob: float | None) -> dict[str, Any]:
    data = tokenizer.bytes_of(id_)
    return {"token": token_text(tokenizer, id_), "logprob": _number(logprob), "bytes": list(data)}


def _number(logprob: float | None) -> float | None:
    return logprob if logprob is None else max(logprob, _LEAST)
