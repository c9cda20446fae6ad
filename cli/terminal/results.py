"""The figures of a reply, for programs and for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinylm.runtime import Chat, Result


def result_values(result: Result) -> dict[str, Any]:
    """A result as `--json` shows it."""
    return {
        "reply": result.reply,
        "prompt_tokens": result.prompt_tokens,
        "completion_tokens": result.completion_tokens,
        "finish_reason": result.finish_reason,
        "time_to_first_token_s": round(result.time_to_first_token_s, 5),
        "decode_tokens_per_second": round(result.decode_tokens_per_second, 2),
    }


def stats_line(chat: Chat, result: Result) -> str:
    """A result as a chat shows it."""
    return (
        f"{result.completion_tokens} tokens at {result.decode_tokens_per_second:,.0f}/s, first after "
        f"{result.time_to_first_token_s * 1000:,.0f} ms; reused {result.reused_tokens} tokens; "
        f"context {chat.context_used}/{chat.context_length}"
    )
