"""Messages of a conversation: who said them, versions of a reply, editing, deleting, from right to left."""

import re

import pytest

expect = pytest.importorskip("playwright.sync_api", reason="needs a browser: pip install '.[dev]'").expect


def contents(request):
    return [message["content"] for message in request["messages"]]


def test_each_reply_keeps_the_name_of_the_model_that_said_it(chat, server):
    names = chat.page.locator("article.assistant h2")
    chat.talk("Hello")
    server.model = "nova"
    chat.talk("And now?")
    chat.page.reload()

    expect(names).to_have_text([re.compile("^pip-demo"), re.compile("^nova")])
    # And the time
    expect(names.first.locator("time")).to_have_text(re.compile(r"\d:\d\d"))


def test_another_model_can_be_chosen_where_there_are_several(chat, server):
    server.more_models = ["nova"]
    chat.page.reload()
    chat.button("Settings").click()
    chat.page.get_by_label("Model", exact=True).select_option("nova")
    chat.button("Done").click()
    chat.talk("Hello")
    chat.page.reload()
    chat.talk("And now?")

    assert [request["model"] for request in server.requests] == ["nova", "nova"]
    expect(chat.page).to_have_title("nova · TinyLM")


def test_retry_keeps_the_earlier_replies_and_the_shown_one_is_sent(chat, server):
    server.will_say("One.", "Two.", "Three.", "Go on.", "Four.")
    chat.talk("Count")
    for text in ("Two.", "Three."):
        chat.button("Retry").click()
        expect(chat.texts.last).to_have_text(text)
        expect(chat.button("Send")).to_be_visible()
    versions = chat.page.get_by_role("group", name="Versions of this reply")
    expect(versions).to_contain_text("3 / 3")

    chat.button("Earlier reply").click()
    chat.button("Earlier reply").click()
    expect(chat.texts).to_have_text(["Count", "One."])
    expect(chat.button("Earlier reply")).to_be_disabled()
    chat.page.reload()
    expect(chat.texts).to_have_text(["Count", "One."])
    chat.talk("And then?")
    assert contents(server.requests[-1]) == ["Count", "One.", "And then?"]
    # The other versions are still there, and one of them can be deleted
    chat.button("Later reply").click()
    expect(chat.texts.nth(1)).to_have_text("Two.")
    chat.page.locator("article").nth(1).get_by_role("button", name="Delete").click()
    expect(versions).to_contain_text("2 / 2")
    expect(chat.texts.nth(1)).to_have_text("Three.")
    chat.button("Undo").click()
    expect(versions).to_contain_text("2 / 3")


def test_a_retry_that_fails_leaves_the_reply_as_it_was(chat, server):
    server.will_say("One.")
    chat.talk("Count")
    server.will_fail(500, "The model is tired.")
    chat.button("Retry").click()

    expect(chat.notice).to_contain_text("The model is tired.")
    expect(chat.texts).to_have_text(["Count", "One."])
    expect(chat.page.get_by_role("group", name="Versions of this reply")).to_have_count(0)


def test_any_message_can_be_edited_in_its_place(chat, server):
    server.will_say("One.", "Two.", "Three.")
    chat.talk("First", "Second")
    # A reply: only its text changes
    article = chat.page.locator("article").nth(1)
    article.get_by_role("button", name="Edit").click()
    reply = chat.page.get_by_role("textbox", name="The reply")
    expect(reply).to_be_focused()
    reply.fill("**Uno.**")
    chat.button("Save").click()
    expect(article.locator("strong")).to_have_text("Uno.")
    # A message, without asking again
    chat.page.locator("article").nth(2).get_by_role("button", name="Edit").click()
    chat.editor.fill("Zweitens")
    chat.button("Save").click()
    chat.page.reload()
    expect(chat.texts).to_have_text(["First", "Uno.", "Zweitens", "Two."])
    chat.talk("Third")
    assert contents(server.requests[-1]) == ["First", "**Uno.**", "Zweitens", "Two.", "Third"]


def test_an_earlier_message_sent_again_takes_out_what_came_after_and_gives_it_back(chat, server):
    server.will_say("One.", "Two.", "Three.")
    chat.talk("First", "Second")
    chat.page.locator("article").first.get_by_role("button", name="Edit").click()
    chat.editor.fill("Otherwise")
    chat.button("Send again").click()

    expect(chat.texts).to_have_text(["Otherwise", "Three."])
    expect(chat.notice).to_contain_text("2 later messages were taken out.")
    chat.button("Undo").click()
    expect(chat.texts).to_have_text(["First", "One.", "Second", "Two."])
    chat.page.reload()
    expect(chat.texts).to_have_text(["First", "One.", "Second", "Two."])


def test_any_message_can_be_deleted_and_had_back(chat, server):
    server.will_say("One.", "Two.", "Three.")
    chat.talk("First", "Second")
    chat.page.locator("article").first.get_by_role("button", name="Delete").click()
    expect(chat.texts).to_have_text(["One.", "Second", "Two."])
    # A reply without its question is not sent
    chat.talk("Third")
    assert contents(server.requests[-1]) == ["Second", "Two.", "Third"]

    chat.page.locator("article").nth(1).get_by_role("button", name="Delete").click()
    expect(chat.notice).to_contain_text("The message is deleted.")
    chat.button("Undo").click()
    expect(chat.texts).to_have_text(["One.", "Second", "Two.", "Third", "Three."])
    for _ in range(5):
        chat.page.locator("article").first.get_by_role("button", name="Delete").click()
    # Of a conversation without messages nothing is kept
    expect(chat.kept).to_have_count(0)
    chat.page.reload()
    expect(chat.texts).to_have_count(0)


def test_what_has_not_changed_is_not_built_again(chat, server):
    """Seen by what becomes of marks on the elements."""
    chat.talk("First", "Second", "Third")
    chat.page.evaluate("document.querySelectorAll('article').forEach((article, index) => { article.mark = index; })")
    chat.talk("Fourth")

    marks = chat.page.evaluate("[...document.querySelectorAll('article')].map(article => article.mark ?? null)")
    # The last reply has lost its Retry, and its message is no longer the last
    assert marks == [0, 1, 2, 3, None, None, None, None]


def test_text_from_right_to_left_is_shown_so_where_it_is(chat, server):
    server.will_say("مرحبا\n\nHello\n\n- واحد\n- two")
    chat.talk("متى أزرع الطماطم؟")

    directions = chat.page.evaluate(
        "[...document.querySelectorAll('article .text, article .text p, article .text li, #conversations .title-line')]"
        ".map(e => e.matches('article.assistant > .text') ? null : getComputedStyle(e).direction).filter(Boolean)"
    )
    assert directions == ["rtl", "rtl", "rtl", "ltr", "rtl", "ltr"]
    chat.field.fill("شكرا")
    assert chat.page.evaluate("getComputedStyle(document.getElementById('text')).direction") == "rtl"


def test_code_in_a_reply_can_be_copied_alone(chat, server):
    chat.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    server.will_say("Here:\n```python\nx = 1\n```")
    chat.talk("Some code, please")
    chat.button("Copy code").click()

    expect(chat.page.locator(".code").get_by_role("button", name="Copied")).to_be_visible()
    assert chat.page.evaluate("navigator.clipboard.readText()") == "x = 1"


def test_of_a_long_conversation_the_last_messages_are_shown_at_once(chat):
    expect(chat.page.get_by_text("Ready")).to_be_visible()  # before, there is no store to keep it
    chat.page.evaluate(
        """async () => {
            const said = index => ({ role: index % 2 ? "assistant" : "user", content: `Message ${index}` });
            const messages = Array.from({ length: 300 }, (_, index) => said(index));
            const conversation = { ...newConversation(), messages };
            await putConversations([conversation]);
            kept.set("current", conversation.id);
        }"""
    )
    chat.page.reload()
    expect(chat.texts.last).to_have_text("Message 299")
    expect(chat.texts).to_have_count(100)
    at_end = "(e => e.scrollHeight - e.scrollTop - e.clientHeight < 2)(document.getElementById('log'))"
    chat.wait(at_end)

    chat.page.evaluate("document.getElementById('log').scrollTop = 0")
    first = chat.page.locator("article .text", has_text="Message 200")
    before = first.bounding_box()["y"]
    chat.button("Show earlier messages").click()
    expect(chat.texts).to_have_count(200)
    # What was read stays where it was
    assert abs(first.bounding_box()["y"] - before) < 60
    chat.button("Show earlier messages").click()
    expect(chat.texts.first).to_have_text("Message 0")
    expect(chat.button("Show earlier messages")).to_be_hidden()
