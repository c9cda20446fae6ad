"""Taking turns back, replying anew, other system messages, restored conversations, and what a full context does."""

from itertools import pairwise

import pytest

from tinylm.chat_format import encode_conversation, encode_prompt
from tinylm.errors import ConfigError, ContextFullError, TinyLMError
from tinylm.runtime import Chat, ChatModel, SamplingOptions

GREEDY = SamplingOptions(temperature=0, max_new_tokens=12)


@pytest.fixture(scope="module")
def model(bundles):
    return ChatModel(bundles["classic", "fp32"])


def said(pieces):
    return "".join(pieces)


def contents(chat):
    return [message["content"] for message in chat.messages]


def prompt_of(chat):
    """The ids that the model sees of a conversation, up to the last reply."""
    return [*chat._opening, *(id_ for ids in chat._turns[chat.dropped_messages :] for id_ in ids)]


def fill(chat, when_full=None):
    """Talk until a message is no longer simply answered; the number of turns till then."""
    for number in range(100):
        before = list(chat.messages)
        list(chat.send(f"Message {number}"))
        if chat.last_result.completion_tokens == 0 or chat.dropped_messages:
            return number, before
    raise AssertionError("never full")


def test_undo_takes_back_the_last_exchange(model):
    chat = model.start_chat("Be kind.", GREEDY)
    first = said(chat.send("Hello!"))
    before, used = list(chat.messages), chat.context_used
    second = said(chat.send("And now?"))
    assert chat.undo() == "And now?"
    assert chat.messages == before
    assert chat.context_used == used
    assert chat.last_result is None
    assert said(chat.send("And now?")) == second
    assert chat.undo() == "And now?"
    assert chat.undo() == "Hello!"
    assert chat.undo() is None
    assert contents(chat) == ["Be kind."]
    assert said(chat.send("Hello!")) == first


def test_undo_brings_back_what_was_dropped(model):
    chat = model.start_chat(None, GREEDY)
    number, _ = fill(chat)
    assert chat.dropped_messages > 0
    for _ in range(number):
        chat.undo()
    assert chat.dropped_messages == 0
    assert contents(chat)[0] == "Message 0"


def test_retry_replies_to_the_same_message_in_the_same_context(model):
    lively = SamplingOptions(temperature=3, top_k=0, top_p=1, seed=1, max_new_tokens=8)
    chat = model.start_chat("Be kind.", lively)
    list(chat.send("Hello!"))
    first = said(chat.send("And now?"))
    tokens = chat.last_result.prompt_tokens
    replies = {said(chat.retry()) for _ in range(4)}
    assert len(replies | {first}) > 2, "random numbers go on"
    assert chat.last_result.prompt_tokens == tokens
    assert chat.last_result.reused_tokens == tokens - 1
    assert [message["role"] for message in chat.messages] == ["system", *["user", "assistant"] * 2]
    chat.options = GREEDY
    greedy = said(chat.retry())
    assert said(chat.retry()) == greedy


def test_retry_without_a_message_is_refused(model):
    with pytest.raises(TinyLMError, match="no message"):
        model.start_chat("Be kind.", GREEDY).retry()


def test_a_retry_that_nobody_iterates_over_leaves_the_reply(model):
    chat = model.start_chat(None, GREEDY)
    list(chat.send("Hello!"))
    before = list(chat.messages)
    chat.retry()
    assert chat.messages == before


def test_another_system_message_holds_from_the_next_reply_on(model):
    chat = model.start_chat("Be kind.", GREEDY)
    first = said(chat.send("Hello!"))
    chat.set_system("You are a pirate.")
    assert chat.system == "You are a pirate."
    assert contents(chat) == ["You are a pirate.", "Hello!", first]
    list(chat.send("And now?"))
    expected = encode_prompt(model.tokenizer, chat.messages[:2])
    assert chat.last_result.prompt_tokens > len(expected)
    assert list(model.session.ids)[: len(expected)] == expected
    chat.set_system(None)
    assert chat.system is None
    assert contents(chat)[0] == "Hello!"
    chat.set_system("Be brief.")
    assert contents(chat)[:2] == ["Be brief.", "Hello!"]


def test_a_system_message_that_does_not_fit_changes_nothing(model):
    chat = model.start_chat("Be kind.", GREEDY)
    list(chat.send("Hello!"))
    before, ids = list(chat.messages), prompt_of(chat)
    with pytest.raises(ContextFullError, match="system message"):
        chat.set_system("word " * 90)
    with pytest.raises(ContextFullError, match="system message"):
        chat.set_system("word " * 10**6)
    assert chat.messages == before
    assert prompt_of(chat) == ids


@pytest.mark.parametrize("when_full", ["stop", "error"])
def test_where_nothing_may_be_dropped_a_longer_system_message_must_leave_room(model, when_full):
    chat = model.start_chat(None, GREEDY, when_full)
    for number in range(4):
        list(chat.send(f"Message {number}"))
    while chat.context_used < 80:
        list(chat.send("x"))
    before = list(chat.messages)
    with pytest.raises(ContextFullError, match="dropped"):
        chat.set_system("7" * 40)
    assert chat.messages == before


def test_a_restored_conversation_goes_on_as_if_it_had_never_ended(model):
    chat = model.start_chat("Be kind.", GREEDY)
    for text in ("Hello!", "Where is the basil?"):
        list(chat.send(text))
    # As text: what the model said need not be cut into tokens the way it said them
    again = model.start_chat(None, GREEDY)
    again.restore(chat.messages)
    assert again.messages == chat.messages
    assert again.messages is not chat.messages
    assert prompt_of(again) == encode_conversation(model.tokenizer, chat.messages)
    list(again.send("And now?"))
    assert len(chat.messages) == 5
    assert again.undo() == "And now?"
    assert again.messages == chat.messages


def test_a_restored_conversation_may_be_opened_by_the_assistant_and_ended_by_the_user(model):
    chat = model.start_chat(None, GREEDY)
    chat.restore([{"role": "assistant", "content": "Hello!"}])
    assert chat.undo() is None
    with pytest.raises(TinyLMError, match="no message"):
        chat.retry()
    chat.restore([{"role": "assistant", "content": "Hello!"}, {"role": "user", "content": "Who are you?"}])
    reply = said(chat.retry())
    assert contents(chat) == ["Hello!", "Who are you?", reply]


def test_a_conversation_that_is_longer_than_the_context_is_restored_as_far_as_it_fits(model):
    messages = [
        {"role": role, "content": f"{number} 1234567890"} for number in range(30) for role in ("user", "assistant")
    ]
    chat = model.start_chat("Be kind.", GREEDY)
    chat.restore(messages)
    assert chat.messages == messages
    assert 0 < chat.dropped_messages < 60
    assert messages[chat.dropped_messages]["role"] == "user"
    list(chat.send("Go on"))
    strict = model.start_chat(None, GREEDY, "stop")
    with pytest.raises(ContextFullError, match="no message is dropped"):
        strict.restore(messages)
    assert strict.messages == []


def test_a_conversation_with_a_system_message_in_its_middle_is_refused(model):
    chat = model.start_chat("Be kind.", GREEDY)
    with pytest.raises(TinyLMError, match="first"):
        chat.restore([{"role": "user", "content": "Hello!"}, {"role": "system", "content": "Be rude."}])
    assert contents(chat) == ["Be kind."]


def test_a_full_context_drops_some_more_than_it_must_so_that_the_next_turns_are_quick(model):
    chat = model.start_chat(None, GREEDY)
    drops = []
    for number in range(24):
        list(chat.send(f"Message {number}"))
        drops.append(chat.dropped_messages)
    changes = sum(one != other for one, other in pairwise(drops))
    assert drops[-1] > 20
    assert changes < 20, "not every turn drops"


def test_a_full_context_that_is_to_stop_refuses_the_message_and_loses_nothing(model):
    chat = model.start_chat("Be kind.", GREEDY, "stop")
    _, before = fill(chat)
    result = chat.last_result
    assert chat.messages == before
    assert chat.dropped_messages == 0
    assert (result.finish_reason, result.reply, result.completion_tokens) == ("context", "", 0)
    assert result.prompt_tokens >= chat.context_length
    chat.undo()
    assert said(chat.send("Hi"))
    chat.when_full = "drop"
    for _ in range(5):
        list(chat.send("Message"))
    assert chat.dropped_messages > 0
    assert chat.system == "Be kind."


def test_a_full_context_that_is_an_error_raises_and_loses_nothing(model):
    chat = model.start_chat("Be kind.", GREEDY, "error")
    with pytest.raises(ContextFullError, match="context is full"):
        fill(chat)
    assert len(chat.messages) % 2 == 1
    assert chat.dropped_messages == 0
    chat.clear()
    assert said(chat.send("Hi"))


def test_a_reply_that_reaches_the_end_of_the_context_says_so(model):
    endless = SamplingOptions(temperature=0, max_new_tokens=500, logit_bias={model.tokenizer.eos_id: -100})
    for when_full in ("drop", "stop", "error"):
        chat = model.start_chat(None, endless, when_full)
        list(chat.send("Hello!"))
        assert chat.last_result.finish_reason == "context"
        assert chat.context_used == chat.context_length
        chat.prepare()
        assert chat.context_used == chat.context_length


def test_an_unknown_policy_is_named(model):
    with pytest.raises(ConfigError, match="when-full must be one of drop, stop, error"):
        Chat(model.session, model.tokenizer, None, GREEDY, "forget")


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_an_empty_message_is_refused(model, text):
    chat = model.start_chat(None, GREEDY)
    with pytest.raises(TinyLMError, match="empty"):
        chat.send(text)
    assert chat.messages == []


def test_a_message_of_megabytes_is_refused_without_tokenizing_it(model, monkeypatch):
    chat = model.start_chat(None, GREEDY)
    monkeypatch.setattr(model.tokenizer, "encode", None)
    with pytest.raises(ContextFullError, match="shorten"):
        chat.send("word " * 2_000_000)
    with pytest.raises(ContextFullError, match="shorten"):
        model.complete("word " * 2_000_000)


def test_what_is_prepared_changes_no_reply(model):
    plain, prepared = [], []
    for replies in (plain, prepared):
        model.session.truncate(0)
        chat = model.start_chat("Be kind.", GREEDY)
        for number in range(12):
            if replies is prepared:
                chat.prepare()
            replies.append(said(chat.send(f"Message {number}")))
            if replies is prepared and number:
                # All but the message itself and <assistant>
                size = len(model.tokenizer.encode(f"Message {number}")) + 1
                assert chat.last_result.prompt_tokens - chat.last_result.reused_tokens >= size
                if chat.dropped_messages == 0:
                    assert chat.last_result.prompt_tokens - chat.last_result.reused_tokens == size
    assert prepared == plain


def test_what_was_prepared_for_one_conversation_does_not_disturb_another(model):
    alone = model.start_chat(None, GREEDY)
    expected = said(alone.send("Hello!"))
    other = model.start_chat("Someone else.", GREEDY)
    list(other.send("Something quite different."))
    other.prepare()
    assert said(model.start_chat(None, GREEDY).send("Hello!")) == expected


def test_a_chat_tells_beforehand_whether_it_has_room(model):
    chat = model.start_chat(None, GREEDY, "stop")
    assert chat.has_room_for("Hello!")
    fill(chat)
    assert not chat.has_room_for("7" * 12)
    chat.when_full = "drop"
    assert chat.has_room_for("7" * 12)
    assert not chat.has_room_for("7" * 500)
    assert not chat.has_room_for("word " * 10**6)
