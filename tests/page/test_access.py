"""The chat page by keyboard, screen reader, finger and eye: phone and desktop, light and dark."""

import pytest

expect = pytest.importorskip("playwright.sync_api", reason="needs a browser: pip install '.[dev]'").expect
Axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 800}
MARKDOWN = """## Watering tomatoes

Water the plants in the **evening**, when the sun is *low*. Tomatoes like a deep drink more than a sip.

1. Push a finger into the soil.
2. If it is damp to the second knuckle:
   - wait a day
   - look again
3. Otherwise use `5` litres.

> What the leaves tell you is worth more than the calendar.

```python
def litres(plants):
    return 2.5 * plants  # each, twice a week
```

More at [the garden page](https://garden.example/water)."""
HOSTILE = "<script>alert(1)</script><img src=x onerror=\"document.title='hit'\">"


def test_a_screen_reader_hears_whole_sentences_once(chat, server):
    story = "The rover went out. It found beans. Then it slept"
    server.will_say(story)
    chat.talk("A story, please.")

    heard = chat.spoken()
    assert " ".join(heard) == story
    assert len(heard) < len(story.split())
    # The growing text itself is no live region
    assert chat.page.locator("#log").get_attribute("aria-live") is None
    # Nor are the marks of Markdown read out
    server.will_say("## Soil\n> It is **damp** and `5` cm deep.")
    chat.talk("And the soil?")
    assert " ".join(chat.spoken()).split() == ["Soil", "It", "is", "damp", "and", "5", "cm", "deep."]


def _tab_stops(chat, most=40):
    """The names of what Tab reaches, from the top of the page once around."""
    chat.page.locator(".skip").focus()
    names = []
    for _ in range(most):
        name = chat.page.evaluate(
            "(e => e === document.body ? '' : (e.closest('article')?.firstChild.firstChild.data.concat(': ') ?? '')"
            " + (e.labels?.[0]?.textContent ?? e.ariaLabel ?? e.textContent.trim()))"
            "(document.activeElement)"
        )
        if not name or name in names:
            break
        names.append(name)
        chat.press("Tab")
    return names


def test_everything_is_reached_by_keyboard_in_reading_order(chat):
    chat.talk("First")
    chat.page.reload()
    expect(chat.page.get_by_text("Ready")).to_be_visible()

    assert _tab_stops(chat) == [
        "Skip to the message",
        "New conversation",
        "Search conversations",
        "First",
        "Rename this conversation",
        "Export this conversation",
        "Delete this conversation",
        "Import",
        "Export all",
        "Settings",
        "Messages",
        "You: Edit",
        "You: Delete",
        "pip-demo: Copy",
        "pip-demo: Retry",
        "pip-demo: Edit",
        "pip-demo: Delete",
        "Message",
    ]


def test_a_whole_session_by_keyboard_alone(chat, server):
    server.will_say("One.")
    server.will_begin("Tw", "o")
    server.will_say("Three.", "Four.")

    expect(chat.field).to_be_focused()
    chat.page.keyboard.type("First")
    chat.press("Enter")
    expect(chat.texts).to_have_text(["First", "One."])
    expect(chat.button("Send")).to_be_visible()
    # Stop, then retry by its button
    chat.page.keyboard.type("Second")
    chat.press("Enter")
    expect(chat.texts.last).to_have_text("Tw")
    chat.press("Escape")
    expect(chat.figures.last).to_have_text("Stopped")
    chat.press("Shift+Tab", "Shift+Tab", "Shift+Tab", "Enter")
    expect(chat.texts.last).to_have_text("Three.")
    expect(chat.button("Send")).to_be_visible()
    expect(chat.field).to_be_focused()
    # Back to the earlier version
    chat.button("Earlier reply").focus()
    chat.press("Enter")
    expect(chat.texts.last).to_have_text("Tw")
    expect(chat.button("Later reply")).to_be_focused()
    chat.press("Enter")
    expect(chat.texts.last).to_have_text("Three.")
    # Edit
    chat.field.focus()
    chat.press("ArrowUp", "End", *"!", "Enter")
    expect(chat.texts).to_have_text(["First", "One.", "Second!", "Four."])
    expect(chat.button("Send")).to_be_visible()
    # Settings: the dialog keeps the focus and gives it back
    chat.button("Settings").focus()
    chat.press("Enter")
    expect(chat.page.get_by_label("System message")).to_be_focused()
    chat.page.get_by_label("Automatic").focus()
    chat.press("ArrowRight", "ArrowRight")
    expect(chat.page.locator("html")).to_have_attribute("data-theme", "dark")
    chat.press("Escape")
    expect(chat.button("Settings")).to_be_focused()
    # Delete, undo
    chat.button("Delete this conversation").focus()
    chat.press("Space")
    expect(chat.texts).to_have_count(0)
    chat.press("Shift+Tab", "Shift+Tab", "Enter")
    expect(chat.texts.last).to_have_text("Four.")


def test_focus_is_seen_wherever_it_goes(chat):
    chat.talk("First")
    chat.page.locator(".skip").focus()
    for _ in range(12):
        chat.press("Tab")
        # The message field is framed by its form
        seen = chat.page.evaluate(
            """(e => {
                const look = () => {
                    const {outlineStyle, outlineWidth, boxShadow} = getComputedStyle(e.id === 'text' ? e.form : e);
                    return (outlineStyle === 'none' ? 0 : parseFloat(outlineWidth)) + boxShadow;
                };
                const focused = look();
                e.blur();
                const plain = look();
                e.focus();
                return focused !== plain;
            })(document.activeElement)"""
        )
        assert seen, chat.page.evaluate("document.activeElement.outerHTML")


def test_the_phone_has_a_drawer_for_conversations(chat, server):
    chat.page.set_viewport_size({"width": 360, "height": 640})
    chat.talk("First")
    expect(chat.button("Import")).to_be_hidden()

    chat.button("Conversations").click()
    expect(chat.button("Close the list")).to_be_focused()
    chat.press("Escape")
    expect(chat.button("Conversations")).to_be_focused()
    expect(chat.button("Import")).to_be_hidden()
    chat.button("Conversations").click()
    chat.page.locator("#side").get_by_role("button", name="New conversation").click()

    expect(chat.button("Import")).to_be_hidden()
    expect(chat.texts).to_have_count(0)


@pytest.mark.parametrize("width", [320, 360, 1280])
def test_nothing_is_cut_off_at_any_width(chat, server, width):
    chat.page.set_viewport_size({"width": width, "height": 640})
    server.will_say("verylongword" * 40)
    chat.talk("unbroken" * 30)
    server.will_be_busy(3600)
    chat.say("Hello")
    expect(chat.notice).to_be_visible()

    wide = chat.page.evaluate(
        "[...document.querySelectorAll('main *')].filter(e => e.checkVisibility() && !e.closest('.only-spoken, svg')"
        " && (e.getBoundingClientRect().right > innerWidth + 0.5 || e.getBoundingClientRect().left < -0.5))"
        ".map(e => e.outerHTML.slice(0, 80))"
    )
    assert wide == []
    assert chat.page.evaluate("document.documentElement.scrollWidth") <= width
    expect(chat.field).to_be_in_viewport()


def test_fingers_get_large_targets(open_page, server):
    chat = open_page(viewport=PHONE, has_touch=True, is_mobile=True)
    server.will_say("I hear you.")
    server.will_fail(500, "The model is tired.")
    for text in ("Hello", "Again"):
        chat.field.fill(text)
        chat.button("Send").tap()
        expect(chat.texts.first).to_be_visible()
        # The keyboard would cover the reply
        expect(chat.field).not_to_be_focused()
    expect(chat.notice).to_be_visible()

    sizes = (
        "[...document.querySelectorAll('button')].filter(e => e.checkVisibility({visibilityProperty: true}))"
        ".map(e => Math.min(e.offsetWidth, e.offsetHeight))"
    )
    before = chat.page.evaluate(sizes)
    chat.button("Conversations").tap()
    after = chat.page.evaluate(sizes)
    assert len(after) > len(before) > 8
    assert min(before + after) >= 40
    # Smaller text in fields makes iOS zoom in
    assert chat.page.evaluate("parseFloat(getComputedStyle(document.getElementById('text')).fontSize)") >= 16


def test_the_theme_follows_the_device_until_it_is_set(chat):
    html = chat.page.locator("html")
    chat.page.emulate_media(color_scheme="dark")
    expect(html).to_have_attribute("data-theme", "dark")
    chat.button("Settings").click()
    chat.page.get_by_label("Light").check()
    chat.button("Done").click()
    expect(html).to_have_attribute("data-theme", "light")
    chat.page.reload()
    expect(html).to_have_attribute("data-theme", "light")


def test_reduced_motion_is_respected(chat, server):
    chat.page.emulate_media(reduced_motion="reduce")
    server.will_be_busy(3600)
    chat.say("Hello")
    expect(chat.page.locator(".dots")).to_be_visible()
    assert chat.page.evaluate("document.getAnimations().length") == 0


def _scenes(chat, server):
    """The page in each of its states, by name."""
    server.context_length = 4096
    old = """async () => putConversations(["Beans", "Slugs", "Rain"].map((text, index) => ({
        ...newConversation(), time: Date.now() - (index + 1) * 86400000 * (index + 1), title: text,
        messages: [{ role: "user", content: `${text} and tomatoes` }, { role: "assistant", content: "Yes." }],
    })))"""
    expect(chat.page.get_by_text("Ready")).to_be_visible()  # before, there is no store to keep them
    chat.page.evaluate(old)
    chat.page.reload()
    expect(chat.page.get_by_text("Ready")).to_be_visible()
    yield "welcome"
    server.will_say("You can call me Pip. I live on a small board under the desk.", MARKDOWN, "بذور الطماطم", HOSTILE)
    chat.talk("Hello, who are you?", "How do I water **tomatoes**?")
    yield "talk"
    chat.talk("متى أزرع الطماطم؟", "Write some HTML")
    server.most_messages = 3
    chat.button("Retry").click()
    expect(chat.page.locator(".versions")).to_contain_text("2 / 2")
    expect(chat.button("Send")).to_be_visible()
    yield "versions"
    chat.button("Edit").nth(2).click()
    yield "editing"
    chat.press("Escape")
    server.will_be_busy(30)
    chat.say("Is anyone else here?")
    expect(chat.notice).to_be_visible()
    yield "busy"
    chat.button("Cancel").click()
    chat.button("Settings").click()
    yield "settings"
    chat.press("Escape")
    if chat.button("Conversations").is_visible():
        chat.button("Conversations").click()
        chat.wait("!document.getAnimations().length")
    yield "list"
    chat.page.get_by_label("Search conversations").fill("tomato")
    expect(chat.page.locator("mark")).to_have_text(["tomato"] * 4)
    yield "search"
    chat.button("Rename this conversation").click()
    yield "rename"
    chat.press("Escape", "Escape")
    server.key = "right"
    chat.page.reload()
    expect(chat.page.get_by_role("dialog", name="API key")).to_be_visible()
    yield "key"


@pytest.mark.parametrize(("device", "size"), [("phone", PHONE), ("desktop", DESKTOP)])
def test_every_state_is_accessible_in_light_and_dark(chat, server, device, size):
    """By axe-core: contrast, names, roles, landmarks. In dark only colours are others."""
    chat.page.set_viewport_size(size)
    for scene in _scenes(chat, server):
        for scheme, options in (("dark", {"runOnly": ["color-contrast"]}), ("light", {})):
            chat.page.emulate_media(color_scheme=scheme)
            expect(chat.page.locator("html")).to_have_attribute("data-theme", scheme)
            chat.screenshot(f"{scene}-{device}-{scheme}")
            violations = Axe().run(chat.page, options=options).response["violations"]
            assert [(v["id"], [node["html"][:100] for node in v["nodes"]]) for v in violations] == [], scene
