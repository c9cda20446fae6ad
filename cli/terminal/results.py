"""Figures and notes about a reply, for programs and for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinylm.runtime import Chat, Result


def result_values(result: Result, dropped_messages: int = 0) -> dict[str, Any]:
    """The JSON object of `--json`.

    Args:
        result: the reply or completion.
        dropped_messages: of the conversation; see `Chat`.
    """
    return {
        "reply": result.reply,
        "prompt_tokens": result.prompt_tokens,
        "completion_tokens": result.completion_tokens,
        "finish_reason": result.finish_reason,
        "time_to_first_token_s": round(result.time_to_first_token_s, 5),
        "decode_tokens_per_second": round(result.decode_tokens_per_second, 2),
        "dropped_messages": dropped_messages,
    }


def stats_line(chat: Chat, result: Result) -> str:
    """Speed, time to first token and context on one line."""
    return (
        f"{result.completion_tokens} tokens at {result.decode_tokens_per_second:,.0f}/s, first after "
        f"{result.time_to_first_token_s * 1000:,.0f} ms; reused {result.reused_tokens} tokens; "
        f"context {chat.context_used}/{chat.context_length}"
    )


def dropped_note(chat: Chat) -> str:
    """That the model no longer sees the oldest messages."""
    count = chat.dropped_messages
    return f"the context is full: the {count} oldest messages are no longer seen by the model"


def cut_note(result: Result) -> str | None:
    """Why a reply is incomplete; None where it is complete."""
    return {
        "cancelled": "stopped",
        "length": "cut: max-new-tokens reached",
        "context": "cut: the context is full",
    }.get(result.finish_reason)
