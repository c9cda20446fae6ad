"""The front door: which form a file is taken for, what comes out, and the bundled samples."""

import json
from pathlib import Path

import pytest

import tinylm.data
from tinylm.data import DataError, iter_conversations, iter_documents, load_conversation_data

SAMPLES = Path(tinylm.data.__file__).parent / "samples"
CONVERSATION = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]
TAGGED = "<user> Hi\n<assistant> Hello!\n"
JSONL = json.dumps({"messages": CONVERSATION}) + "\n"
PRETTY = json.dumps([{"messages": CONVERSATION}], indent=2)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("chat.txt", TAGGED),
        ("chat.TXT", TAGGED),
        ("chat.md", TAGGED),
        ("chat.chat", TAGGED),
        ("chat", TAGGED),
        ("chat.json", PRETTY),
        ("chat.json", JSONL),
        ("chat.JSON", JSONL),
        ("chat.jsonl", JSONL),
        ("chat.jsonl", PRETTY),
        ("chat.ndjson", JSONL),
        ("chat", JSONL),
        ("chat.data", PRETTY),
    ],
)
def test_form_is_recognized(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    assert load_conversation_data(path) == [CONVERSATION]
    assert load_conversation_data(str(path)) == [CONVERSATION]


@pytest.mark.parametrize(
    ("name", "text", "documents"),
    [
        ("a.txt", TAGGED, [TAGGED.strip()]),
        ("a.txt", JSONL, [JSONL.strip()]),
        ("a.md", PRETTY, [PRETTY]),
        ("a", TAGGED, [TAGGED.strip()]),
        ("a", "{ no JSON", ["{ no JSON"]),
        ("a", "[1] A footnote.", ["[1] A footnote."]),
        ("a", "[Chapter one]\n\nText", ["[Chapter one]", "Text"]),
        ("a", JSONL, ["Hi\nHello!"]),
        ("a.json", PRETTY, ["Hi\nHello!"]),
        ("a.jsonl", '{"text": " one\\n\\ntwo "}\n{"text": " "}\n{"text": "<user>"}', ["one\n\ntwo", "<user>"]),
        ("a.csv", "text\n1\n", ["1"]),
    ],
)
def test_documents(tmp_path, name, text, documents):
    path = tmp_path / name
    path.write_text(text)
    assert list(iter_documents(path)) == documents


@pytest.mark.parametrize(
    ("name", "text", "line", "problem"),
    [
        (
            "a.txt",
            "Once upon a time",
            None,
            "no <user>/<assistant> tags found; is this raw text? then give it to --pretrain",
        ),
        ("a.txt", JSONL, None, "no <user>/<assistant> tags found; is this JSON? then let its name end in .json"),
        ("a", "[Chapter", None, "no <user>/<assistant> tags found; is this JSON? then let its name end in .json"),
        ("a.json", "\n" + TAGGED, 2, "is not JSON, which begins with { or [; name a text file .txt"),
        ("a.csv", "story\nOnce upon a time", 2, "documents, not conversations: give the file to --pretrain"),
        ("a.YML", "text: Hi", 1, "documents, not conversations: give the file to --pretrain"),
        ("a.parquet", JSONL, None, "is not Parquet, whatever its name says; name it by what it is"),
        ("a.jsonl", "PK\x03\x04", None, "is a ZIP archive or an office document; unpack it, or save the table as CSV"),
        ("a.jsonl", '{"text": "Hi"}', 1, "documents, not conversations: give the file to --pretrain"),
    ],
)
def test_wrong_form(tmp_path, name, text, line, problem):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        load_conversation_data(path)
    where = f"{path}:{line}" if line else str(path)
    assert str(caught.value) == f"{where}: {problem}"
    assert (caught.value.path, caught.value.line) == (str(path), line)


@pytest.mark.parametrize("read", [iter_conversations, iter_documents])
@pytest.mark.parametrize("name", ["a.txt", "a.json", "a.jsonl", "a"])
@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b" \n\t\r\n"])
def test_nothing_in_it(tmp_path, read, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        list(read(path))
    assert str(caught.value) == f"{path}: nothing to read in it, so put some text into it or give another file"
    assert caught.value.line is None


@pytest.mark.parametrize(("name", "text"), [("a.json", "[]"), ("a.json", "[\n]"), ("a.txt", "# Only\n # comments")])
def test_no_conversation_in_it(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(DataError, match="nothing to read in it"):
        load_conversation_data(path)


def test_conversations_before_a_mistake_are_handed_out(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(JSONL + "{\n")
    conversations = iter_conversations(path)
    assert next(conversations) == CONVERSATION
    with pytest.raises(DataError):
        next(conversations)


CHAT_SAMPLES = [
    *(
        "tagged.txt",
        "labelled.txt",
        "separated.txt",
        "conversations.json",
        "messages.jsonl",
        "sharegpt.json",
        "alpaca.json",
    ),
    *("pairs.csv", "turns.csv", "dialogues.csv", "corpus.yml", "messages.parquet"),
]


@pytest.mark.parametrize("name", CHAT_SAMPLES)
def test_sample_conversations(name):
    conversations = load_conversation_data(SAMPLES / name)
    assert len(conversations) >= 10
    for conversation in conversations:
        roles = [message["role"] for message in conversation if message["role"] != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert all(message["content"].isascii() for message in conversation)
        assert not any(mark in message["content"] for message in conversation for mark in "<>#")
    assert list(iter_documents(SAMPLES / name))


@pytest.mark.parametrize("name", ["raw.txt", "documents.jsonl"])
def test_sample_documents(name):
    documents = list(iter_documents(SAMPLES / name))
    assert len(documents) >= 10
    assert all(document.isascii() and "endoftext" not in document for document in documents)
