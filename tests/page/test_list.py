"""The list of conversations: search, titles, dates, thousands of them."""

import pytest

expect = pytest.importorskip("playwright.sync_api", reason="needs a browser: pip install '.[dev]'").expect

# Counts what is read of IndexedDB, by store and method
COUNT_READS = """(() => {
    window.reads = {};
    for (const method of ["get", "getAll", "openCursor"]) {
        const original = IDBObjectStore.prototype[method];
        IDBObjectStore.prototype[method] = function (...given) {
            const name = `${this.name}.${method}`;
            window.reads[name] = (window.reads[name] ?? 0) + 1;
            return original.apply(this, given);
        };
    }
})()"""


def seed(chat, *conversations):
    """Keep conversations of (days ago, title or "", what was said) and open the page anew."""
    expect(chat.page.get_by_text("Ready")).to_be_visible()  # before, there is no store to keep them
    chat.page.evaluate(
        """async given => {
            const today = new Date().setHours(12, 1, 0, 0);
            await putConversations(given.map(([days, title, ...texts], index) => ({
                ...newConversation(), id: `seeded-${index}`, title, time: today - days * 86400000 - index,
                messages: texts.map((content, at) => ({ role: at % 2 ? "assistant" : "user", content })),
            })));
        }""",
        conversations,
    )
    chat.page.reload()
    expect(chat.page.get_by_text("Ready")).to_be_visible()


def test_conversations_stand_under_their_days(chat):
    chat.page.clock.set_fixed_time("2026-05-20T15:00:00")
    seed(
        chat, (0, "", "now"), (1, "", "one"), (3, "", "three"), (20, "", "twenty"), (60, "", "sixty"), (61, "", "more")
    )

    expect(chat.page.locator("#conversations h3")).to_have_text(
        ["Today", "Yesterday", "Last 7 days", "Last 30 days", "March 2026"]
    )
    expect(chat.kept).to_have_text(["now", "one", "three", "twenty", "sixty", "more"])
    chat.button("sixty").click()
    expect(chat.page.locator("#conversations time")).to_have_text("Mar 21, 12:00 PM")


def test_a_conversation_can_be_renamed_by_keyboard(chat):
    chat.talk("First")
    chat.button("Rename this conversation").focus()
    chat.press("Enter")
    title = chat.page.get_by_role("textbox", name="Title")
    expect(title).to_be_focused()
    title.fill("Of tomatoes")
    chat.press("Enter")
    expect(chat.kept).to_have_text("Of tomatoes")
    expect(chat.kept).to_be_focused()
    chat.page.reload()
    expect(chat.kept).to_have_text("Of tomatoes")
    # Escape leaves it, and an empty title is the first message again
    chat.button("Rename this conversation").click()
    title.fill("Something else")
    chat.press("Escape")
    expect(chat.kept).to_have_text("Of tomatoes")
    chat.button("Rename this conversation").click()
    title.fill("")
    chat.press("Enter")
    expect(chat.kept).to_have_text("First")


def test_search_finds_titles_and_texts_whatever_their_accents(chat):
    seed(
        chat,
        (0, "", "Hello", "What about Café au lait?"),
        (1, "Cafeteria", "Something else"),
        (2, "", "Nothing of it"),
        (3, "", "Deep <b>in</b> the text " * 20 + "there is a CAFE, too"),
    )
    search = chat.page.get_by_label("Search conversations")
    search.fill("cafe")

    expect(chat.page.locator("#conversations .title-line")).to_have_count(3)
    expect(chat.page.locator("#conversations mark")).to_have_text(["Café", "CAFE"])
    expect(chat.page.locator("#conversations b")).to_have_count(0)
    assert chat.spoken()[-1] == "3 found"
    chat.kept.last.click()
    expect(chat.texts).to_contain_text(["there is a CAFE"])
    search.fill("nowhere")
    expect(chat.page.get_by_text("Nothing found.")).to_be_visible()
    search.press("Escape")
    expect(chat.kept).to_have_count(4)


def test_thousands_open_at_once(open_page):
    """Measured by the work: what is read and what is built. Neither grows with the number of conversations."""
    chat = open_page(viewport={"width": 390, "height": 844})
    chat.page.add_init_script(COUNT_READS)
    seed(chat, *((number // 10, "", f"Message {number}", "said " * 50) for number in range(3000)))
    chat.page.evaluate("kept.set('current', 'seeded-2')")
    chat.page.reload()
    expect(chat.texts.first).to_have_text("Message 2")

    assert chat.page.evaluate("window.reads") == {"summaries.getAll": 1, "conversations.get": 1}
    assert chat.page.locator("#conversations li").count() == 50
    assert chat.page.evaluate("document.querySelectorAll('*').length") < 600
    # The others come as they are scrolled to
    chat.button("Conversations").click()
    chat.page.evaluate("document.getElementById('conversations').scrollTop = 1e6")
    expect(chat.page.locator("#conversations li")).to_have_count(100)
    # Another reply builds the list once more, and not all that there is
    chat.press("Escape")
    chat.talk("Go on")
    assert chat.page.locator("#conversations li").count() == 100
    assert chat.page.evaluate("window.reads")["conversations.get"] == 1
    # Search reads all of them, a hundred at a time
    chat.button("Conversations").click()
    chat.page.get_by_label("Search conversations").fill("message 2999")
    chat.wait("document.querySelector('#spoken p:last-child')?.textContent === '1 found'")
    expect(chat.kept).to_have_count(1)
    assert chat.page.evaluate("window.reads")["conversations.getAll"] == 31


def test_what_an_earlier_version_of_the_page_has_kept_is_taken_over(chat):
    chat.page.evaluate(
        """() => {
            const messages = [{ role: "user", content: "Of old" }];
            const old = { id: "a1", time: Date.now(), system: "", first: 0, messages };
            localStorage.setItem("tinylm.chat.a1", JSON.stringify(old));
            localStorage.setItem("tinylm.chat.a2", "broken");
            localStorage.setItem("tinylm.current", '"a1"');
        }"""
    )
    chat.page.reload()

    expect(chat.kept).to_have_text(["Of old"])
    expect(chat.texts).to_have_text(["Of old"])
    assert [name for name in chat.storage() if name.startswith("tinylm.chat.")] == []
