"""Import of what ChatGPT, Open WebUI and ShareGPT export, in small samples of these forms."""

import json
import zipfile

import pytest

from tinylm.data import load_conversation_data

expect = pytest.importorskip("playwright.sync_api", reason="needs a browser: pip install '.[dev]'").expect

SPRING = 1_710_000_000  # 9 March 2024, in seconds since 1970


def chatgpt_node(name, parent, role, parts, **more):
    content = {"content_type": more.pop("content_type", "text"), "parts": parts}
    metadata = {"model_slug": "gpt-4o"} if role == "assistant" else {}
    message = {"id": name, "author": {"role": role}, "content": content, "create_time": SPRING, "recipient": "all"}
    return {"id": name, "parent": parent, "message": {**message, "metadata": metadata, **more}}


def chatgpt_export():
    nodes = [
        {"id": "root", "parent": None, "message": None},
        chatgpt_node("hidden", "root", "system", [""], metadata={"is_visually_hidden_from_conversation": True}),
        chatgpt_node("q1", "hidden", "user", [{"content_type": "image_asset_pointer"}, "What is in this picture?"]),
        chatgpt_node("old", "q1", "assistant", ["An answer that was not kept."]),
        chatgpt_node("thought", "q1", "assistant", ["Hm."], content_type="thoughts"),
        chatgpt_node("call", "thought", "assistant", ["look()"], recipient="python"),
        chatgpt_node("result", "call", "tool", ["42"]),
        chatgpt_node("a1", "result", "assistant", ["A tomato."]),
        chatgpt_node("a2", "a1", "assistant", ["It is **ripe**."]),
        chatgpt_node("q2", "a2", "user", ["Thanks"]),
        chatgpt_node("a3", "q2", "assistant", ["You are welcome."]),
    ]
    mapping = {
        node["id"]: {**node, "children": [n["id"] for n in nodes if n["parent"] == node["id"]]} for node in nodes
    }
    whole = {"title": "A picture", "create_time": SPRING, "update_time": SPRING + 60, "mapping": mapping}
    empty = {"title": "New chat", "create_time": SPRING, "mapping": {"root": {**nodes[0], "children": []}}}
    return [{**whole, "current_node": "a3", "conversation_id": "1"}, {**empty, "current_node": "root"}]


def open_webui_export():
    def message(name, parent, role, content, **more):
        return name, {"id": name, "parentId": parent, "role": role, "content": content, "timestamp": SPRING, **more}

    messages = dict(
        [
            message("q1", None, "user", "How deep?"),
            message("a0", "q1", "assistant", "Not this one.", model="llama3"),
            message("a1", "q1", "assistant", '<details type="reasoning">Hm</details>\nTwo hands.', model="qwen3"),
            message("q2", "a1", "user", "And how far apart?"),
            message("a2", "q2", "assistant", "A step.", model="qwen3"),
        ]
    )
    for name, each in messages.items():
        each["childrenIds"] = [other for other, node in messages.items() if node["parentId"] == name]
    chat = {
        "title": "Depth",
        "models": ["qwen3"],
        "system": "Be brief.",
        "history": {"messages": messages, "currentId": "a2"},
    }
    about = {"id": "x", "user_id": "y", "title": "Depth", "created_at": SPRING, "updated_at": SPRING + 60, "meta": {}}
    return [{**about, "chat": {**chat, "messages": list(messages.values())}}]


def sharegpt_export():
    turns = [("system", "Be kind."), ("human", "Hello"), ("gpt", "Hi!"), ("human", "Bye"), ("gpt", "See you.")]
    return [{"id": "s1", "conversations": [{"from": who, "value": text} for who, text in turns]}]


CASES = {
    "ChatGPT": (
        chatgpt_export,
        "Imported 1 conversation; 1 was empty.",
        "A picture",
        "",
        ["[picture]\n\nWhat is in this picture?", "A tomato.\n\nIt is **ripe**.", "Thanks", "You are welcome."],
        "gpt-4o",
    ),
    "Open WebUI": (
        open_webui_export,
        "Imported 1 conversation.",
        "Depth",
        "Be brief.",
        ["How deep?", "Two hands.", "And how far apart?", "A step."],
        "qwen3",
    ),
    "ShareGPT": (
        sharegpt_export,
        "Imported 1 conversation.",
        "Hello",
        "Be kind.",
        ["Hello", "Hi!", "Bye", "See you."],
        None,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_others_export_is_imported(chat, server, tmp_path, name):
    make, said, title, system, texts, model = CASES[name]
    exported = tmp_path / "conversations.json"
    exported.write_text(json.dumps(make()))
    chat.import_file(exported)

    expect(chat.notice).to_contain_text(said)
    expect(chat.kept).to_have_text([title])
    kept = chat.storage()["conversations"][0]
    assert [message["content"] for message in kept["messages"]] == texts
    assert [message["role"] for message in kept["messages"]] == ["user", "assistant"] * 2
    if model:
        expect(chat.page.locator("article.assistant h2").last).to_contain_text(model)
        expect(chat.page.locator("#conversations h3")).to_have_text("March 2024")
    chat.talk("Go on")
    sent = [message["content"] for message in server.requests[-1]["messages"]]
    assert sent == [*([system] if system else []), *texts, "Go on"]
    # A second time there is nothing new but what was said meanwhile
    chat.button("Delete this conversation").click()
    chat.import_file(exported)
    expect(chat.notice).to_contain_text("Imported 1 conversation")
    chat.import_file(exported)
    expect(chat.notice).to_contain_text("Imported 0 conversations; 1 was here already")


def test_the_page_and_training_read_the_same_of_sharegpt(chat, tmp_path):
    exported = tmp_path / "sharegpt.json"
    exported.write_text(json.dumps(sharegpt_export()))
    chat.import_file(exported)
    expect(chat.notice).to_contain_text("Imported 1 conversation.")

    (conversation,) = load_conversation_data(exported)
    kept = chat.storage()["conversations"][0]
    assert [kept["system"], *(message["content"] for message in kept["messages"])] == [
        message["content"] for message in conversation
    ]


def test_several_files_at_once_and_a_broken_one(chat, tmp_path):
    first, second, broken = tmp_path / "one.json", tmp_path / "two.json", tmp_path / "broken.json"
    first.write_text(json.dumps(sharegpt_export()))
    second.write_text(json.dumps(open_webui_export()))
    broken.write_text("{")
    chat.import_file([first, second, broken])

    expect(chat.kept).to_have_count(2)
    expect(chat.notice).to_contain_text("Nothing was imported from broken.json: it is not JSON.")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_archive_itself_is_imported(chat, tmp_path, method):
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("chat.html", "<p>no conversation</p>")
        archive.writestr("conversations-000.json", json.dumps(chatgpt_export()))
        archive.writestr("folder/conversations-001.json", json.dumps(sharegpt_export()))
    chat.import_file(path)
    expect(chat.notice).to_contain_text("Imported 2 conversations; 1 was empty.")


def test_an_archive_that_is_broken_or_another_is_refused(chat, tmp_path):
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations.json", json.dumps(chatgpt_export()))
    whole = path.read_bytes()
    at = whole.index(b"conversations.json") + 40
    damaged = whole[:at] + bytes(255 - byte for byte in whole[at : at + 40]) + whole[at + 40 :]
    for content in (whole[:-30], whole[:100], damaged, whole[:4] + whole[30:]):
        path.write_bytes(content)
        chat.import_file(path)
        expect(chat.notice).to_contain_text(
            "Nothing was imported from export.zip: it is a ZIP archive that cannot be read"
        )
        chat.button("Close the notice").click()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other.json", "[]")
    chat.import_file(path)
    expect(chat.notice).to_contain_text("it is a ZIP archive without a conversations.json.")
    assert chat.storage()["conversations"] == []


@pytest.mark.parametrize(
    "odd",
    [
        {"mapping": {"a": {"parent": "b", "children": ["b"]}, "b": {"parent": "a", "children": ["a"]}}},
        {"mapping": {"a": None, "b": 7, "c": {"message": {"author": 7, "content": 8}}}},
        {"mapping": {"a": {"message": {"author": {"role": "user"}, "content": {"parts": [None, 7, {}]}}}}},
        {"chat": {"history": {"messages": {"a": {"parentId": "a", "role": "user", "content": None}}}}},
        {"conversations": [None, 7, {"from": 3, "value": []}, {"from": "human", "value": 8}]},
    ],
)
def test_odd_exports_are_read_to_their_end(chat, tmp_path, odd):
    exported = tmp_path / "odd.json"
    good = {"conversations": [{"from": "human", "value": "Hello"}]}
    exported.write_text(json.dumps([odd, good]))
    chat.import_file(exported)

    expect(chat.notice).to_contain_text("Imported 1 conversation; 1 was empty.")


def test_figures_and_versions_come_back_and_what_is_wrong_there_does_not(chat, server, tmp_path):
    server.will_say("One.", "Two.")
    chat.talk("Count")
    chat.button("Retry").click()
    expect(chat.texts.last).to_have_text("Two.")
    expect(chat.button("Send")).to_be_visible()
    chat.button("Rename this conversation").click()
    chat.page.get_by_role("textbox", name="Title").fill("Numbers")
    chat.press("Enter")
    with chat.page.expect_download() as download:
        chat.button("Export this conversation").click()
    exported = tmp_path / "one.json"
    download.value.save_as(exported)
    chat.forget()
    chat.import_file(exported)
    expect(chat.kept).to_have_text("Numbers")
    expect(chat.figures).to_have_text("1 token · 46 tokens/s · began after 0.3 s")
    chat.button("Earlier reply").click()
    expect(chat.texts.last).to_have_text("One.")

    (content,) = json.loads(exported.read_text("utf-8"))
    wrong = {"time": 1e300, "model": {"a": 1}, "tokens": "many", "versions": [7], "version": 0, "role": "system"}
    content["tinylm"] = {"title": 7, "time": "now", "messages": [wrong, wrong]}
    exported.write_text(json.dumps(content))
    chat.forget()
    chat.import_file(exported)
    expect(chat.kept).to_have_text("Count")
    expect(chat.texts).to_have_text(["Count", "Two."])
