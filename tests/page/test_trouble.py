"""The chat page and a server that is busy, full, locked, failing or gone."""

import re

import pytest

expect = pytest.importorskip("playwright.sync_api", reason="needs a browser: pip install '.[dev]'").expect


def test_a_busy_server_is_asked_again_when_it_said(chat, server):
    server.will_be_busy(1)
    server.will_say("Here I am.")

    chat.say("Hello")

    expect(chat.notice).to_contain_text("The server is busy with others. Trying again in 1 s.")
    expect(chat.texts).to_have_text(["Hello", "Here I am."])
    expect(chat.notice).to_be_hidden()
    assert len(server.requests) == 2


def test_waiting_for_a_busy_server_can_be_cut_short_or_cancelled(chat, server):
    server.will_be_busy(3600)
    server.will_say("Here I am.")
    server.will_be_busy(3600)
    chat.say("Hello")
    chat.button("Try now").click()
    expect(chat.texts).to_have_text(["Hello", "Here I am."])
    expect(chat.button("Send")).to_be_visible()
    chat.say("And now?")
    chat.button("Cancel").click()

    expect(chat.notice).to_be_hidden()
    expect(chat.button("Get a reply")).to_be_visible()
    chat.button("Get a reply").click()
    expect(chat.texts.last).to_have_text("I hear you.")


def test_what_no_longer_fits_is_dropped_by_whole_exchanges_and_the_page_says_so(chat, server):
    chat.set(System_message="Be brief.")
    chat.talk("One", "Two", "Three")
    server.most_messages = 4

    chat.talk("Four")

    sent = [message["content"] for message in server.requests[-1]["messages"]]
    assert sent == ["Be brief.", "Three", "I hear you.", "Four"]
    expect(chat.page.locator(".border")).to_have_text(re.compile("no longer fit the model"))
    below = chat.page.locator(".border ~ article .text")
    expect(below).to_have_text(["Three", "I hear you.", "Four", "I hear you."])
    expect(chat.texts.first).to_have_text("One")
    assert any("no longer fit" in line for line in chat.spoken())
    # The next message begins from there
    asked = len(server.requests)
    chat.talk("Five")
    assert len(server.requests) == asked + 2


def test_room_for_a_reply_is_made_before_the_context_is_full(chat, server):
    server.context_length = 100
    chat.page.reload()
    for number in range(1, 4):
        chat.talk(f"{number} is a message of 24.")

    # A quarter is for the reply, and an eighth more than must goes
    assert [len(request["messages"]) for request in server.requests] == [1, 3, 3]
    assert server.requests[2]["messages"][0]["content"] == "2 is a message of 24."
    expect(chat.page.locator(".border")).to_be_visible()


def test_a_message_that_is_too_long_by_itself_can_be_edited(chat, server):
    chat.talk("One")
    server.most_messages = 0
    chat.say("Much too long")
    expect(chat.notice).to_contain_text("This is too long for the model, even without the earlier messages")
    server.most_messages = None

    chat.button("Edit the message").click()
    chat.editor.fill("Short")
    chat.press("Enter")

    expect(chat.texts).to_have_text(["One", "I hear you.", "Short", "I hear you."])
    expect(chat.page.locator(".border")).to_have_count(0)


def test_the_key_is_asked_once_kept_and_can_be_forgotten(chat, server):
    server.key = "right"
    chat.page.reload()
    chat.page.get_by_label("Key", exact=True).fill("wrong")
    chat.press("Enter")
    expect(chat.page.get_by_text("The server does not take the key")).to_be_visible()
    chat.page.get_by_label("Key", exact=True).fill("right")
    chat.press("Enter")
    expect(chat.page.get_by_text("Ready")).to_be_visible()
    chat.page.reload()
    chat.talk("Hello")
    expect(chat.page.get_by_role("dialog")).to_be_hidden()

    chat.button("Settings").click()
    chat.button("Forget the key").click()
    chat.button("Done").click()
    chat.say("And now?")
    expect(chat.page.get_by_role("dialog", name="API key")).to_be_visible()
    chat.press("Escape")
    expect(chat.notice).to_contain_text("This server asks for an API key.")
    chat.button("Enter the key").click()
    chat.page.get_by_label("Key", exact=True).fill("right")
    chat.press("Enter")
    expect(chat.texts).to_have_text(["Hello", "I hear you.", "And now?", "I hear you."])


@pytest.mark.parametrize("begun", [True, False])
def test_a_connection_that_breaks_loses_no_text(chat, server, begun):
    cut = server.will_break(*(["Once ", "upon"] if begun else []))
    chat.say("A story, please.")
    expect(chat.texts).to_have_text(["A story, please.", "Once upon" if begun else ""])
    cut.set()

    expect(chat.notice).to_contain_text("The connection to the server is lost.")
    if begun:
        expect(chat.texts).to_have_text(["A story, please.", "Once upon"])
        expect(chat.figures).to_have_text("Broken off")
        chat.button("Retry").click()
    else:
        expect(chat.notice).to_contain_text("Your message is kept, and sent when the server is back.")
        chat.button("Send now").click()
    expect(chat.texts).to_have_text(["A story, please.", "I hear you."])
    expect(chat.notice).to_be_hidden()


def test_a_server_that_is_gone_and_comes_back_is_noticed(chat, server, start_fake_server):
    expect(chat.page.get_by_text("Ready")).to_be_visible()
    server.stop()
    chat.say("Hello")
    expect(chat.page.get_by_text("Not reachable")).to_be_visible()
    expect(chat.figures).to_have_text("Not sent yet")

    # What was not sent is sent
    start_fake_server(server.server_port)
    expect(chat.texts).to_have_text(["Hello", "I hear you."])
    expect(chat.page.get_by_text("Ready")).to_be_visible()
    expect(chat.notice).to_be_hidden()


def test_what_was_not_sent_in_another_conversation_is_said_when_the_server_is_back(chat, server, start_fake_server):
    chat.talk("First")
    chat.button("New conversation").click()
    server.stop()
    chat.say("Second")
    expect(chat.page.get_by_text("Not reachable")).to_be_visible()
    chat.button("First").click()
    again = start_fake_server(server.server_port)
    expect(chat.notice).to_contain_text("A message in “Second” was not sent.")
    assert again.requests == []

    chat.button("Show it").click()
    expect(chat.texts).to_have_text(["Second"])
    chat.button("Get a reply").click()
    expect(chat.texts).to_have_text(["Second", "I hear you."])


def test_a_stream_that_reports_an_error_shows_it(chat):
    chat.page.route(
        "**/v1/chat/completions",
        lambda route: route.fulfill(
            content_type="text/event-stream",
            body='data: {"choices":[{"delta":{"content":"Half"}}]}\n\ndata: {"error":{"message":"Out of time."}}\n\n',
        ),
    )
    chat.say("Hello")

    expect(chat.notice).to_contain_text("Out of time.")
    expect(chat.texts).to_have_text(["Hello", "Half"])


def test_a_server_that_comes_back_with_another_model_answers(chat, server):
    chat.talk("Hello")
    server.model = "nova"
    chat.talk("And now?")

    expect(chat.page).to_have_title("nova · TinyLM")
    assert [request["model"] for request in server.requests] == ["pip-demo", "nova"]


def test_a_message_before_the_model_is_known_waits_for_its_name(chat, server):
    server.key = "right"
    chat.page.evaluate("localStorage.clear()")
    chat.page.reload()
    dialog = chat.page.get_by_role("dialog", name="API key")
    expect(dialog).to_be_visible()
    chat.press("Escape")
    expect(dialog).to_be_hidden()
    chat.say("Hello")
    expect(dialog).to_be_visible()
    chat.page.get_by_label("Key", exact=True).fill("right")
    chat.press("Enter")

    expect(chat.texts).to_have_text(["Hello", "I hear you."])


def test_a_conversation_of_more_than_the_server_takes_is_shortened(chat, server):
    chat.talk("One", "Two")
    server.will_fail(413, "the body is longer than 1,000,000 bytes", "body_too_long")
    chat.talk("Three")

    assert [message["content"] for message in server.requests[-1]["messages"]] == ["Two", "I hear you.", "Three"]
