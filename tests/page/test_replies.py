"""The chat page: replies come, stop, come anew, and are asked for as set."""

import re

import pytest

expect = pytest.importorskip("playwright.sync_api", reason="needs a browser: pip install '.[dev]'").expect


def test_a_reply_streams_in_and_shows_its_figures(chat, server):
    hold = server.will_begin("Once ", "upon a time\nthere was a rover.")
    expect(chat.page).to_have_title("pip-demo · TinyLM")
    expect(chat.page.get_by_text("Ready")).to_be_visible()

    chat.say("A story, please.")

    expect(chat.texts).to_have_text(["A story, please.", "Once "])
    expect(chat.button("Stop the reply")).to_be_visible()
    expect(chat.page.locator("#state")).to_have_text("Replying")
    hold.set()
    expect(chat.texts.last).to_have_text("Once upon a time\nthere was a rover.", use_inner_text=True)
    # The time is the model's own, as the server tells it
    expect(chat.figures).to_have_text("2 tokens · 46 tokens/s · began after 0.3 s")
    assert server.requests == [
        {
            "model": "pip-demo",
            "messages": [{"role": "user", "content": "A story, please."}],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ]


def test_the_conversation_is_sent_with_each_message(chat, server):
    server.will_say("One.", "Two.")

    chat.talk("First", "Second")

    assert [message["content"] for message in server.requests[1]["messages"]] == ["First", "One.", "Second"]


def test_shift_and_enter_makes_a_line_and_an_empty_message_is_not_sent(chat, server):
    chat.say("   ")
    chat.field.fill("One")
    chat.field.press("Shift+Enter")
    chat.field.press_sequentially("two")
    chat.field.press("Enter")

    expect(chat.texts).to_have_text(["One\ntwo", "I hear you."], use_inner_text=True)
    assert [request["messages"][0]["content"] for request in server.requests] == ["One\ntwo"]


@pytest.mark.parametrize("by", ["button", "Escape"])
def test_stop_keeps_what_there_is_and_leaves_the_server(chat, server, by):
    server.will_begin("Once ", "upon")
    chat.say("A story, please.")
    expect(chat.texts.last).to_have_text("Once ")

    if by == "button":
        chat.button("Stop the reply").click()
    else:
        chat.press("Escape")

    expect(chat.figures).to_have_text("Stopped")
    expect(chat.texts).to_have_text(["A story, please.", "Once "])
    expect(chat.field).to_be_focused()
    assert server.left.wait(5)


def test_retry_asks_the_same_again_and_replaces_the_reply(chat, server):
    server.will_say("First try.", "Second try.")
    chat.talk("Hello")

    chat.button("Retry").click()

    expect(chat.texts).to_have_text(["Hello", "Second try."])
    assert server.requests[0] == server.requests[1]


def test_a_retry_that_fails_gives_the_old_reply_back(chat, server):
    server.will_say("First try.")
    server.will_fail(500, "The model is tired.")
    chat.talk("Hello")

    chat.button("Retry").click()

    expect(chat.notice).to_contain_text("The model is tired.")
    expect(chat.texts).to_have_text(["Hello", "First try."])


def test_the_last_message_can_be_edited(chat, server):
    server.will_say("One.", "Two.", "Three.")
    chat.talk("First", "Secnod")

    chat.field.press("ArrowUp")
    expect(chat.editor).to_have_value("Secnod")
    chat.press("Escape")
    expect(chat.editor).to_have_count(0)
    expect(chat.field).to_be_focused()
    chat.field.press("ArrowUp")
    chat.editor.fill("Second")
    chat.press("Enter")

    expect(chat.texts).to_have_text(["First", "One.", "Second", "Three."])
    assert [message["content"] for message in server.requests[-1]["messages"]] == ["First", "One.", "Second"]


def test_settings_reach_the_request_and_stay(chat, server):
    chat.set(System_message="Your name is Nova.", Temperature="0.3", Longest_reply="64")
    chat.talk("Hello")
    chat.page.reload()
    chat.button("New conversation").click()
    chat.talk("Hello again")

    for request, text in zip(server.requests, ("Hello", "Hello again"), strict=True):
        assert request["temperature"] == 0.3
        assert request["max_tokens"] == 64
        assert request["messages"] == [
            {"role": "system", "content": "Your name is Nova."},
            {"role": "user", "content": text},
        ]


def test_a_setting_out_of_range_is_refused_and_not_sent(chat, server):
    chat.button("Settings").click()
    chat.page.get_by_label("Temperature").fill("7")
    chat.button("Done").click()
    expect(chat.page.get_by_role("dialog")).to_be_visible()
    chat.press("Escape")
    chat.talk("Hello")

    assert "temperature" not in server.requests[0]


def test_a_reply_at_the_token_limit_says_so(chat, server):
    server.will_say("Once upon", finish_reason="length")
    chat.talk("A story, please.")

    expect(chat.figures).to_have_text(re.compile("^Cut off at the limit · "))


def test_the_view_follows_the_reply_unless_the_reader_scrolls_up(chat, server):
    chat.page.set_viewport_size({"width": 390, "height": 500})
    hold = server.will_begin("line\n" * 80, "the end")
    chat.say("Long, please")
    expect(chat.texts.last).to_contain_text("line")
    at_end = "(e => e.scrollHeight - e.scrollTop - e.clientHeight < 2)(document.getElementById('log'))"
    chat.wait(at_end)

    # In the same frame as the page grows
    chat.page.evaluate(
        """() => {
            document.getElementById("log").scrollTop = 100;
            document.querySelector("article:last-child .text").append(document.createElement("hr"));
            toEnd();
        }"""
    )
    expect(chat.button("Latest")).to_be_visible()
    hold.set()
    expect(chat.texts.last).to_contain_text("the end")
    assert chat.page.evaluate("document.getElementById('log').scrollTop") == 100
    chat.button("Latest").click()
    chat.wait(at_end)
    expect(chat.button("Latest")).to_be_hidden()
    # A notice takes room from the messages, and the end stays in view
    expect(chat.button("Send")).to_be_visible()
    server.will_fail(500, "The model is tired.")
    chat.say("More, please")
    expect(chat.notice).to_be_visible()
    chat.wait(at_end)
    expect(chat.button("Latest")).to_be_hidden()


@pytest.mark.parametrize("is_secure", [True, False])
def test_a_reply_can_be_copied_with_and_without_https(chat, server, is_secure):
    server.will_say("Water them in the evening.")
    chat.talk("How do I water tomatoes?")
    if is_secure:
        chat.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    else:
        chat.page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")

    chat.button("Copy").click()

    expect(chat.button("Copied")).to_be_visible()
    chat.field.press("Control+v")
    expect(chat.field).to_have_value("Water them in the evening.")
