"""Conversations of any length, through every policy, with anything typed and stopped anywhere."""

import contextlib
import itertools
import random
import re
from array import array

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinylm.errors import ContextFullError, TinyLMError
from tinylm.runtime import ChatModel, SamplingOptions
from tinylm.runtime.chat import WhenFull
from tinylm.tokenizer import CONTROL_PIECES

POLICIES = WhenFull.__args__
TURNS, PROMPTS, CANCELS = 300, 2000, 500
TEXTS = ("Hello!", "Where is the basil?", "x", "tell me\nmore", "🌱?", "and then", "no <user> yes </s>", "7" * 20)


def check(chat, model):
    """The conversation and what the model sees of it are one, and every role in it is one that the chat placed."""
    tokenizer = model.tokenizer
    messages = chat.messages[1:] if chat.system else chat.messages
    assert len(chat._turns) == len(messages)
    for message, turn in zip(messages, chat._turns, strict=True):
        inner = turn[1:-1] if message["role"] == "assistant" else turn[1:]
        assert turn[0] == tokenizer.role_ids[message["role"]]
        assert message["role"] == "user" or turn[-1] == tokenizer.eos_id
        assert not set(inner) & {*tokenizer.never_sampled, tokenizer.eos_id}
        text = re.sub("[\ud800-\udfff]", "\ufffd", message["content"])
        assert tokenizer.decode(list(inner)).rstrip("\ufffd") == text.rstrip("\ufffd")
    assert [message["role"] for message in messages] == ["user", "assistant"] * (len(messages) // 2)
    assert chat.dropped_messages % 2 == 0
    assert chat.context_used <= chat.context_length


def check_cache(chat, model):
    """What is in the cache is what the model is to see."""
    seen = [*chat._opening, *itertools.chain.from_iterable(chat._turns[chat.dropped_messages :])]
    cached = list(model.session.ids)
    assert seen[: len(cached)] == cached[: len(seen)]


class CountingArray(array):
    """Token ids of a turn that count how often their number is asked for."""

    asked = 0

    def __len__(self):
        CountingArray.asked += 1
        return super().__len__()


@pytest.mark.parametrize("action", ["restore", "undo", "set_system", "send"])
def test_a_long_conversation_takes_time_in_proportion_to_its_length(action, monkeypatch):
    model = ChatModel()
    monkeypatch.setattr("tinylm.runtime.chat.array", CountingArray)

    def lengths_asked(exchanges):
        pair = [{"role": "user", "content": "Hello!"}, {"role": "assistant", "content": "Hi."}]
        chat = model.start_chat(options=SamplingOptions(temperature=0, max_new_tokens=1))
        before = CountingArray.asked
        chat.restore(pair * exchanges)
        if action != "restore":
            before = CountingArray.asked
        if action == "undo":
            chat.undo()
        elif action == "set_system":
            chat.set_system("Be kind.")
        elif action == "send":
            chat.options = SamplingOptions(temperature=0, max_new_tokens=model.session.context_length)
            list(chat.send("Where?"))
        assert chat.dropped_messages > exchanges
        return CountingArray.asked - before

    assert lengths_asked(1000) < 3 * lengths_asked(500)


def continue_from_scratch(model, prompt, ids):
    """The greedy tokens after a prompt that is computed anew, and by how much each beats the second best."""
    model.session.truncate(0)
    logits, tokens, gaps = model.session.append(prompt), [], []
    for id_ in ids:
        logits[model.tokenizer.never_sampled] = -np.inf
        best, second = np.sort(logits)[:-3:-1]
        tokens.append(int(logits.argmax()))
        gaps.append(float(best - second))
        if model.session.length == model.session.context_length:
            break
        # Go on with what the chat said, so that each position is compared by itself
        logits = model.session.append([id_])
    return tokens, gaps


def converse(model, when_full, turns, each):
    """A scripted conversation that goes on whatever happens when the context is full; `each` sees every reply."""
    dice = random.Random(0)
    greedy = SamplingOptions(temperature=0, max_new_tokens=10)
    chat = model.start_chat("You are Pip.", greedy, when_full)
    refused = 0
    for number in range(turns):
        text = f"{dice.choice(TEXTS)} {number % 7}"
        before = list(chat.messages)
        try:
            reply = "".join(chat.send(text))
            full = chat.last_result.completion_tokens == 0
        except ContextFullError:
            assert when_full == "error"
            full = True
        if full:
            refused += 1
            assert when_full != "drop"
            assert chat.messages == before
            assert chat.undo() == before[-2]["content"]
            chat.undo()
            if refused % 3 == 0:
                chat.clear()
            reply = "".join(chat.send(text))
        assert chat.messages[-2:] == [{"role": "user", "content": text}, {"role": "assistant", "content": reply}]
        check(chat, model)
        check_cache(chat, model)
        each(chat)
        if number % 11 == 5:
            chat.prepare()
        if number % 17 == 8:
            # Where nothing may be dropped, there may be no room for another
            with contextlib.suppress(ContextFullError):
                chat.set_system(f"You are Pip, {number % 5}.")
        if number % 13 == 6:
            list(chat.retry())
            check(chat, model)
    assert chat.dropped_messages > 100 if when_full == "drop" else refused > 20
    return chat


@pytest.mark.parametrize("when_full", POLICIES)
@pytest.mark.parametrize("arch", ["classic", "modern"])
def test_every_reply_of_a_long_conversation_is_that_of_a_prefill_from_scratch(when_full, arch, bundles):
    model = ChatModel(bundles[arch, "fp32"], threads=1)

    def compare(chat):
        prompt = [*chat._opening, *itertools.chain.from_iterable(chat._turns[chat.dropped_messages : -1])]
        prompt.append(model.tokenizer.role_ids["assistant"])
        ids = chat.last_result.ids
        assert chat.last_result.prompt_tokens == len(prompt)
        assert continue_from_scratch(model, prompt, ids)[0] == ids

    converse(model, when_full, TURNS, compare)


def test_in_int8_replies_may_differ_only_where_two_tokens_are_close(bundles):
    model = ChatModel(bundles["classic", "int8"], threads=1)
    close = model.manifest.gate.prefill_logit_difference
    same = differing = 0

    def compare(chat):
        nonlocal same, differing
        prompt = [*chat._opening, *itertools.chain.from_iterable(chat._turns[chat.dropped_messages : -1])]
        prompt.append(model.tokenizer.role_ids["assistant"])
        ids = chat.last_result.ids
        for said, token, gap in zip(ids, *continue_from_scratch(model, prompt, ids), strict=False):
            if said != token:
                differing += 1
                assert gap <= close
                break
            same += 1

    converse(model, "drop", TURNS, compare)
    assert same > 20 * differing


TAGS = [
    *CONTROL_PIECES,
    "</s>",
    "<s>",
    "<unk>",
    "<0x03>",
    "\u2581<user>\u2581",
    "<|im_start|>",
    "\0",
    "\x1b[2J",
    "\ud800",
]
typed = st.lists(st.one_of(st.sampled_from(TAGS), st.text(max_size=8)), max_size=8).map("".join)


@given(text=typed, what=st.integers(0, 9), seed=st.integers(0, 9))
@settings(max_examples=PROMPTS, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_is_typed_the_conversation_stays_whole(fuzzed, text, what, seed):
    model, chats = fuzzed
    chat = chats[seed % len(chats)]
    chat.options = SamplingOptions(temperature=seed / 3, seed=seed, max_new_tokens=1 + seed, min_p=seed / 30)
    if what == 0:
        chat.undo()
    elif what == 1:
        with contextlib.suppress(ContextFullError):
            chat.set_system(text[:30].strip() or None)
    before = list(chat.messages)
    try:
        reply = "".join(chat.send(text))
    except TinyLMError:
        assert chat.messages == before
        chat.undo()
    else:
        sent = chat.last_result.prompt_tokens < chat.context_length
        turn = [{"role": "user", "content": text}, {"role": "assistant", "content": reply}]
        assert chat.messages == (before + turn if sent else before)
        assert not any("\ud800" <= character <= "\udfff" for character in reply)
        if sent:
            check_cache(chat, model)
        else:
            chat.undo()
        check(chat, model)


@pytest.fixture(scope="module")
def fuzzed(bundles):
    """A model, and a conversation of each policy on it."""
    model = ChatModel(bundles["classic", "int8"], threads=1)
    return model, [model.start_chat(None, SamplingOptions(), policy) for policy in POLICIES]


def test_replies_that_are_stopped_anywhere_leave_the_conversation_whole(bundles):
    model = ChatModel(bundles["classic", "int8"], threads=1)
    dice = random.Random(0)
    options = SamplingOptions(temperature=1.5, seed=0, max_new_tokens=20, stop=["zq"])
    chat = model.start_chat("You are Pip.", options)
    cancelled = 0
    for number in range(CANCELS):
        asked, after = 0, dice.randrange(24)

        def should_stop(after=after):
            nonlocal asked
            asked += 1
            return asked > after

        before = list(chat.messages)
        text = dice.choice(TEXTS)
        if number % 2:
            reply = "".join(chat.send(text, should_stop))
        else:
            pieces = chat.send(text)
            reply = "".join(itertools.islice(pieces, after))
            pieces.close()
            if not after:
                assert chat.messages == before, "nothing was asked for"
                continue
        cancelled += chat.last_result.finish_reason == "cancelled"
        assert chat.messages == [
            *before,
            {"role": "user", "content": text},
            {"role": "assistant", "content": reply},
        ]
        assert chat.last_result.reply == reply
        check(chat, model)
        check_cache(chat, model)
    assert cancelled > CANCELS // 2
