"""Conversations through `tinylm.runtime`, timed in a process of their own."""

from __future__ import annotations

import time
from contextlib import closing
from functools import cache
from pathlib import Path
from unittest.mock import patch

from bare import BareLoop
from workers import memory_mb

from tinylm.errors import TinyLMError
from tinylm.runtime import Chat, ChatModel, Result, SamplingOptions, session

# What a chat wraps around a message: <bos>, <user> and <assistant>
_AROUND = 3


def message(tokens: int, first: int = 0) -> str:
    """A message of so many tokens: every digit is one."""
    return "".join(str((first + number) % 10) for number in range(tokens))


def loop_seconds(bundle: Path, context: int, tokens: int, repeats: int) -> tuple[list[float], list[float]]:
    """A reply through the whole generation loop, and the same tokens through the bare session loop, one thread each.

    Args:
        bundle: its replies do not end by themselves.
        context: tokens of the prompt, all but the last in the cache.
        tokens: of a reply.
        repeats: of each, in turns.

    Returns:
        seconds of the whole loop, and of the bare one.
    """
    # One onnxruntime session for both: where its weights happen to lie in memory can make a fifth of its speed
    load = cache(session.load_onnx)
    with patch.object(session, "load_onnx", load):
        model = ChatModel(bundle, threads=1)
    bare = BareLoop(bundle, model.manifest.model, threads=1, load=load)
    text = message(context - _AROUND)
    whole_times, bare_times = [], []
    for number in range(-1, repeats):
        options = SamplingOptions(temperature=0.8, top_k=40, top_p=0.95, max_new_tokens=tokens, seed=number + 1)
        chat = model.start_chat(options=options)
        started = time.perf_counter()
        "".join(chat.send(text))
        whole = time.perf_counter() - started
        result = result_of(chat)
        decoded = [model.tokenizer.role_ids["assistant"], *result.ids[:-1]]
        if number < 0:
            bare.prefill(list(model.session.ids[: context - 1]))
        bare.keep(context - 1)
        started = time.perf_counter()
        bare.decode(decoded)
        if number < 0:
            continue  # the prompt was not in the cache yet
        bare_times.append(time.perf_counter() - started)
        whole_times.append(whole)
        if (result.reused_tokens, result.prompt_tokens, len(decoded)) != (context - 1, context, tokens):
            raise TinyLMError(f"the whole loop did other work than the bare one: {result}")
    return whole_times, bare_times


def turn_seconds(bundle: Path, first_tokens: int, new_tokens: int, repeats: int) -> tuple[list[float], list[float]]:
    """Time to the first token of a second turn, and of a fresh conversation with the same message.

    Args:
        bundle: its replies do not end by themselves.
        first_tokens: of the reply in the first turn.
        new_tokens: of the message.
        repeats: of each, in turns.

    Returns:
        seconds of the second turn, and of the fresh conversation.
    """
    model = ChatModel(bundle)
    options = model.default_options(max_new_tokens=first_tokens)
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(2 * (repeats + 1)):
        chat = model.start_chat(options=options)
        # Before both, so that processor and caches come from the same work
        "".join(chat.send(message(new_tokens, first=5)))
        chat.prepare()  # as `tinylm chat` does while its user types
        if number % 2:
            chat = model.start_chat(options=options)
            model.session.truncate(0)
        times[number % 2].append(_first_token(chat, message(new_tokens)))
    second, fresh = times
    return second[1:], fresh[1:]


def resident_mb(bundle: Path, warm_up: int, turns: int, tokens: int) -> tuple[float, float]:
    """Resident memory in a conversation, in MiB: after the turns of the warm-up, and after as many more as `turns`.

    Args:
        bundle: its replies do not end by themselves.
        warm_up: turns in which the context fills up.
        turns: turns after them.
        tokens: of each reply.
    """
    model = ChatModel(bundle)
    chat = model.start_chat(options=model.default_options(max_new_tokens=tokens))
    before = 0.0
    for number in range(warm_up + turns):
        if number == warm_up:
            before = memory_mb("VmRSS")
            if not chat.dropped_messages:
                raise TinyLMError("the context did not fill up in the warm-up")
        for _ in chat.send(f"Turn {number}"):
            pass
        chat.prepare()
    return before, memory_mb("VmRSS")


def result_of(chat: Chat) -> Result:
    """The figures of the last reply."""
    assert chat.last_result is not None
    return chat.last_result


def _first_token(chat: Chat, text: str) -> float:
    with closing(chat.send(text)) as pieces:
        next(pieces)
    return result_of(chat).time_to_first_token_s
