"""Ask the worker of a page of `tinylm export --web`, past the page's elements, with Playwright."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinylm.chat_format import Conversation, encode_prompt
from tinylm.data.world.items import test_items
from tinylm.runtime import ChatModel, SamplingOptions

GREEDY = {"temperature": 0, "max_new_tokens": 64}

CATCH_WORKER = """
const RealWorker = Worker;
Worker = class extends RealWorker {
  constructor(...given) {
    super(...given);
    globalThis.caughtWorker = this;
  }
};
"""
"""A script for the page that runs before its own: keeps its worker in reach."""

_ASK = """
(requests) => Promise.all(requests.map(({ stopAtOnce, ...request }, number) => new Promise((resolve) => {
  globalThis.askedBefore = (globalThis.askedBefore ?? 1e6) + 1;
  const id = askedBefore;
  const answer = { text: "" };
  const take = ({ data }) => {
    if (data.id !== id) return;
    answer.text += data.text ?? "";
    if (!data.result && !data.error) return;
    caughtWorker.removeEventListener("message", take);
    resolve({ ...answer, ...data });
  };
  caughtWorker.addEventListener("message", take);
  caughtWorker.postMessage({ id, ...request });
  if (stopAtOnce) caughtWorker.postMessage({ id, stop: true });
})))
"""


def ask(page: Any, *requests: dict[str, Any]) -> list[dict[str, Any]]:
    """What the worker answers to requests, one after the other: the whole text, and its last message.

    Args:
        page: Playwright's, opened with `CATCH_WORKER`.
        requests: as in runtime/web/engine/worker.js; `stopAtOnce` stops one as soon as it was sent.
    """
    answers: list[dict[str, Any]] = page.evaluate(_ASK, list(requests))
    return answers


def greedy_conversations(model: ChatModel, count: int) -> list[Conversation]:
    """Conversations of the world's test, each with the greedy replies of a model on this machine."""
    items = test_items()
    conversations: list[Conversation] = []
    for item in items[:: len(items) // count][:count]:
        chat = model.start_chat(item.system or None, SamplingOptions(**GREEDY))
        for turn in item.turns:
            "".join(chat.send(turn))
        conversations.append(chat.messages)
    return conversations


def greedy_requests(conversations: Sequence[Conversation]) -> list[dict[str, Any]]:
    """Requests for the last replies of conversations."""
    return [{"chat": {"messages": messages[:-1], "settings": GREEDY}} for messages in conversations]


def is_close_call(model: ChatModel, messages: Conversation, reply: str) -> bool:
    """Whether a reply parts from the last one where processors may differ by rounding, as the gate counts it."""
    tokenizer = model.tokenizer
    ids, other = tokenizer.encode(messages[-1]["content"]), tokenizer.encode(reply)
    common = next((place for place, pair in enumerate(zip(ids, other, strict=False)) if pair[0] != pair[1]), None)
    if common is None:
        common = min(len(ids), len(other))
    model.session.truncate(0)
    logits = model.session.append([*encode_prompt(tokenizer, messages[:-1]), *ids[:common]]).copy()
    logits.sort()
    gap = float(logits[-1] - logits[-2])
    return gap < max(0.1, model.manifest.gate.prefill_logit_difference)
