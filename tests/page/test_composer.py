"""The message field: drafts, Enter on touch screens, what of the context is in use; and the sampling settings."""

import pytest

expect = pytest.importorskip("playwright.sync_api", reason="needs a browser: pip install '.[dev]'").expect


def test_a_change_that_is_not_saved_survives_a_reload_and_stays_with_its_conversation(chat):
    chat.talk("First")
    chat.page.locator("article.user").get_by_role("button", name="Edit").click()
    chat.editor.fill("First, but longer")
    chat.button("New conversation").click()
    expect(chat.editor).to_have_count(0)
    chat.button("First").click()
    expect(chat.editor).to_have_value("First, but longer")
    chat.page.reload()
    expect(chat.editor).to_have_value("First, but longer")
    # Leaving it ends it for good
    chat.press("Escape")
    chat.page.reload()
    expect(chat.texts).to_have_count(2)
    expect(chat.editor).to_have_count(0)
    chat.page.locator("article.user").get_by_role("button", name="Edit").click()
    expect(chat.editor).to_have_value("First")


def test_a_draft_survives_a_reload_and_stays_with_its_conversation(chat):
    chat.talk("First")
    chat.field.fill("Of the first")
    chat.button("New conversation").click()
    expect(chat.field).to_have_value("")
    chat.field.fill("Of a new one")
    chat.page.reload()
    expect(chat.field).to_have_value("Of a new one")
    chat.button("First").click()
    expect(chat.field).to_have_value("Of the first")
    # Editing a message leaves it alone, and sending ends it
    chat.page.locator("article.user").get_by_role("button", name="Edit").click()
    chat.press("Escape")
    expect(chat.field).to_have_value("Of the first")
    chat.field.press("Enter")
    expect(chat.texts).to_have_count(4)
    chat.page.reload()
    expect(chat.field).to_have_value("")
    chat.button("New conversation").click()
    expect(chat.field).to_have_value("Of a new one")
    chat.button("First").click()
    chat.field.fill("To go with it")
    chat.button("Delete this conversation").click()
    assert [name for name in chat.storage() if name.startswith("tinylm.draft.")] == ["tinylm.draft.new"]


def test_enter_makes_a_new_line_on_touch_screens(open_page, server):
    chat = open_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    chat.field.tap()
    chat.page.keyboard.type("One")
    chat.press("Enter")
    chat.page.keyboard.type("two")
    expect(chat.field).to_have_value("One\ntwo")
    assert chat.field.get_attribute("enterkeyhint") == "enter"
    assert server.requests == []
    # A keyboard that has it sends with Ctrl and Enter
    chat.press("Control+Enter")
    expect(chat.texts).to_have_text(["One\ntwo", "I hear you."], use_inner_text=True)


def test_the_meter_shows_what_of_the_context_is_in_use(chat, server):
    meter = chat.page.get_by_role("meter", name="Context in use")
    expect(meter).to_be_hidden()
    server.context_length = 1000
    chat.page.reload()
    expect(meter).to_have_text("0 of 1,000 tokens")
    # The fake server counts 200 characters as tokens, and two of the reply
    chat.talk("x" * 200)
    expect(meter).to_have_text("202 of 1,000 tokens")
    expect(meter).to_have_attribute("aria-valuenow", "20")
    # What is being written is estimated as the model counted before
    chat.field.fill("y" * 100)
    expect(meter).to_have_text("about 302 of 1,000 tokens")
    chat.field.fill("y" * 900)
    expect(meter).to_have_text("about 1,102 of 1,000 tokens: the oldest messages will be left out")
    chat.field.fill("")
    chat.page.reload()
    expect(meter).to_have_text("202 of 1,000 tokens")
    chat.page.locator("article.user").get_by_role("button", name="Delete").click()
    expect(meter).to_have_text("0 of 1,000 tokens")


def test_all_sampling_settings_show_their_defaults_and_reach_the_request(chat, server):
    server.defaults = {
        "temperature": 0.7,
        "top_k": 40,
        "top_p": 0.95,
        "min_p": 0,
        "repetition_penalty": 1,
        "seed": None,
        "max_new_tokens": 256,
    }
    chat.page.reload()
    expect(chat.page.get_by_text("Ready")).to_be_visible()
    chat.button("Settings").click()
    fields = chat.page.locator("#sampling input")
    assert [field.get_attribute("placeholder") for field in fields.all()] == [
        "0.7 (default)",
        "256 (default)",
        "40 (default)",
        "0.95 (default)",
        "0 (default)",
        "1 (default)",
        "A random one",
    ]
    expect(chat.page.locator("#use-defaults")).to_be_disabled()
    for field, value in zip(fields.all(), ("0", "64", "5", "0.5", "0.1", "1.2", "7"), strict=True):
        field.fill(value)
    chat.button("Done").click()
    chat.talk("Hello")
    chosen = {"temperature": 0, "top_k": 5, "top_p": 0.5, "min_p": 0.1, "repetition_penalty": 1.2, "seed": 7}
    sent = {"max_tokens": 64, **chosen}
    assert {name: server.requests[0].get(name) for name in sent} == sent

    chat.button("Settings").click()
    chat.page.locator("#use-defaults").click()
    chat.button("Done").click()
    chat.talk("Again")
    assert not sent.keys() & server.requests[1].keys()
