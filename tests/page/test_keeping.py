"""The chat page: what the browser keeps, and files out and in."""

import json
import secrets

import pytest

from tinylm.data import load_conversation_data

expect = pytest.importorskip("playwright.sync_api", reason="needs a browser: pip install '.[dev]'").expect
HOSTILE = "<script>alert(1)</script><img src=x onerror=\"document.title='hit'\">"


def test_conversations_survive_a_reload_and_there_can_be_several(chat, server):
    server.will_say("One.")
    server.will_begin("Tw", "o.")
    chat.talk("First")
    chat.button("New conversation").click()
    chat.say("Second")
    expect(chat.texts).to_have_text(["Second", "Tw"])

    chat.page.reload()

    expect(chat.texts).to_have_text(["Second", "Tw"])
    expect(chat.figures).to_have_text("Broken off")
    expect(chat.kept).to_have_text(["Second", "First"])
    chat.button("First").click()
    expect(chat.texts).to_have_text(["First", "One."])
    chat.page.reload()
    expect(chat.texts).to_have_text(["First", "One."])


def test_a_deleted_conversation_can_be_had_back(chat, server):
    chat.talk("Precious")
    chat.button("Delete this conversation").click()
    expect(chat.texts).to_have_count(0)
    expect(chat.kept).to_have_count(0)

    chat.button("Undo").click()

    expect(chat.texts).to_have_text(["Precious", "I hear you."])
    chat.page.reload()
    expect(chat.texts).to_have_text(["Precious", "I hear you."])


def test_another_conversation_stops_the_reply_and_keeps_it_where_it_was(chat, server):
    server.will_say("One.")
    server.will_begin("Tw", "o.")
    chat.talk("First")
    chat.button("New conversation").click()
    chat.say("Second")
    expect(chat.texts.last).to_have_text("Tw")

    chat.button("First").click()

    assert server.left.wait(5)
    expect(chat.texts).to_have_text(["First", "One."])
    chat.talk("Third")
    chat.button("Second").click()
    expect(chat.texts).to_have_text(["Second", "Tw"])


def test_export_and_import_round_trip(chat, server, tmp_path):
    server.will_say("One.", HOSTILE)
    chat.set(System_message="Be brief.")
    chat.talk("First")
    chat.button("New conversation").click()
    chat.talk("Zweitens: Grüße 🐞\nund mehr")
    with chat.page.expect_download() as download:
        chat.button("Export all").click()
    exported = tmp_path / "all.json"
    download.value.save_as(exported)

    system = {"role": "system", "content": "Be brief."}
    assert [{"messages": each["messages"]} for each in json.loads(exported.read_text("utf-8"))] == [
        {
            "messages": [
                system,
                {"role": "user", "content": "Zweitens: Grüße 🐞\nund mehr"},
                {"role": "assistant", "content": HOSTILE},
            ]
        },
        {"messages": [system, {"role": "user", "content": "First"}, {"role": "assistant", "content": "One."}]},
    ]
    # What was said here can be learnt from
    assert [conversation[-1]["content"] for conversation in load_conversation_data(exported)] == [HOSTILE, "One."]
    chat.forget()
    chat.import_file(exported)
    expect(chat.notice).to_contain_text("Imported 2 conversations.")
    expect(chat.texts).to_have_text(["Zweitens: Grüße 🐞\nund mehr", HOSTILE], use_inner_text=True)
    expect(chat.kept).to_have_text(["Zweitens: Grüße 🐞 und mehr", "First"])
    chat.talk("Go on")
    assert server.requests[-1]["messages"][0] == system
    # A second time, only what has changed meanwhile is new
    chat.import_file(exported)
    expect(chat.notice).to_contain_text("Imported 1 conversation; 1 was here already.")


def test_a_chat_of_the_command_line_and_a_lone_conversation_can_be_imported(chat, tmp_path):
    lines, lone = tmp_path / "chats.jsonl", tmp_path / "lone.json"
    turns = [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}, {"role": "assistant", "content": "Ho"}]
    lines.write_text("\n".join(json.dumps({"messages": [*turns, *turns[:number]]}) for number in range(2)) + "\n")
    lone.write_text(json.dumps([*turns, *turns]))

    chat.import_file(lines)
    expect(chat.notice).to_contain_text("Imported 2 conversations.")
    chat.import_file(lone)
    expect(chat.notice).to_contain_text("Imported 1 conversation.")
    expect(chat.texts).to_have_text(["Hi", "Ho", "Hi", "Ho"])


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("not JSON", "it is not JSON."),
        ("[]", "it holds no conversation."),
        ("7", "conversation 1 has no list of “messages”."),
        ('[{"messages": [{"role": "user", "content": "Hi"}]}, {"messages": 3}]', "conversation 2 has no list of"),
        ('{"messages": [{"role": "tool", "content": "Hi"}]}', "message 1: the role must be system, user or assistant"),
        ('{"messages": [{"role": "user", "content": {"a": 1}}]}', "message 1: the content must be text"),
        ('{"messages": [{"role": "assistant", "content": "Hi"}]}', "has no message of a user"),
        ('{"messages": [{"role": "user", "content": "Hi"}]}\n{"messages"\n', "line 2 is not JSON"),
    ],
)
def test_a_broken_import_is_refused_in_one_line_and_loses_nothing(chat, tmp_path, content, complaint):
    broken = tmp_path / "broken.json"
    broken.write_text(content, encoding="utf-8")
    chat.talk("Precious")
    before = chat.storage()

    chat.import_file(broken)

    expect(chat.notice).to_contain_text("Nothing was imported from broken.json: ")
    expect(chat.notice).to_contain_text(complaint)
    expect(chat.texts).to_have_text(["Precious", "I hear you."])
    assert chat.storage() == before


def test_an_import_that_the_browser_cannot_hold_leaves_all_as_it_was(chat, server, tmp_path):
    large = tmp_path / "large.json"
    # Random, for browsers pack what they store
    texts = [secrets.token_hex(200_000) for _ in range(2)]
    large.write_text(json.dumps([{"messages": [{"role": "user", "content": text}]} for text in texts]))
    small = {"origin": server.url.rstrip("/"), "quotaSize": 300_000}
    chat.page.context.new_cdp_session(chat.page).send("Storage.overrideQuotaForOrigin", small)
    chat.talk("Precious")
    before = chat.storage()

    chat.import_file(large)

    expect(chat.notice).to_contain_text("storage is full")
    assert chat.storage() == before


def test_two_tabs_do_not_overwrite_each_other(chat, server, open_tab):
    chat.talk("In the first")
    other = open_tab(chat)
    other.button("New conversation").click()
    other.talk("In the second")

    expect(chat.kept).to_have_text(["In the second", "In the first"])
    chat.talk("Still in the first")
    expect(other.kept).to_have_text(["In the first", "In the second"])


def test_a_browser_that_keeps_nothing_still_chats(chat):
    for name in ("localStorage", "indexedDB"):
        chat.page.add_init_script(
            f"Object.defineProperty(window, '{name}', {{get() {{ throw new Error('blocked') }}}})"
        )
    chat.page.reload()
    expect(chat.notice).to_contain_text("This browser keeps nothing of this page.")

    chat.talk("Hello")
    expect(chat.kept).to_have_text(["Hello"])


def test_what_something_else_has_written_there_is_passed_over(chat):
    chat.talk("Precious")
    for broken in ("no JSON", "7", "{}", '{"system": "", "messages": [{}]}'):
        chat.page.evaluate("text => localStorage.setItem('tinylm.chat.other', text)", broken)
        chat.page.evaluate("localStorage.setItem('tinylm.current', '\"other\"')")
        chat.page.reload()
        expect(chat.kept).to_have_text(["Precious"])
