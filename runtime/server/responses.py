"""The bodies of answers: OpenAI's objects, whole and in chunks."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Any

from tinylm.runtime.generation import FinishReason, Result

_FINISH: dict[FinishReason, str] = {"stop": "stop", "length": "length", "context": "length", "cancelled": "length"}
"""Ours in OpenAI's words; a reply that its time limit ends is as long as it may be, too."""


class Answer:
    """One answer to a request.

    Args:
        model: its id.
        chat: whether it answers a chat or a completion.
    """

    def __init__(self, model: str, chat: bool) -> None:
        self._chat = chat
        self._head = {
            "id": f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": model,
        }

    def whole(self, result: Result) -> dict[str, Any]:
        """All at once."""
        if self._chat:
            said: dict[str, Any] = {"message": {"role": "assistant", "content": result.reply, "refusal": None}}
        else:
            said = {"text": result.reply}
        choice = {"index": 0, **said, "logprobs": None, "finish_reason": _FINISH[result.finish_reason]}
        kind = "chat.completion" if self._chat else "text_completion"
        return {"object": kind, **self._head, "choices": [choice], "usage": usage(result)}

    def first(self) -> list[dict[str, Any]]:
        """What a stream begins with."""
        return (
            [self._chunk([self._choice({"role": "assistant", "content": "", "refusal": None})])] if self._chat else []
        )

    def piece(self, text: str) -> dict[str, Any]:
        """More text."""
        return self._chunk([self._choice({"content": text} if self._chat else text)])

    def last(self, result: Result) -> dict[str, Any]:
        """The end of the text."""
        return self._chunk([self._choice({} if self._chat else "", _FINISH[result.finish_reason])])

    def usage(self, result: Result) -> dict[str, Any]:
        """What a stream ends with where it was asked for."""
        return {**self._chunk([]), "usage": usage(result)}

    def _choice(self, said: dict[str, Any] | str, finish_reason: str | None = None) -> dict[str, Any]:
        name = "delta" if self._chat else "text"
        return {"index": 0, name: said, "logprobs": None, "finish_reason": finish_reason}

    def _chunk(self, choices: Sequence[dict[str, Any]]) -> dict[str, Any]:
        kind = "chat.completion.chunk" if self._chat else "text_completion"
        return {"object": kind, **self._head, "choices": choices}


def usage(result: Result) -> dict[str, Any]:
    """Tokens, as OpenAI counts them."""
    return {
        "prompt_tokens": result.prompt_tokens,
        "completion_tokens": result.completion_tokens,
        "total_tokens": result.prompt_tokens + result.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": result.reused_tokens},
    }
