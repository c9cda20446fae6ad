"""What must hold of any file: what was written comes back, and what cannot be read is a `DataError`."""

import json
import re

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tinylm.data import DataError, ReadSummary, iter_conversations, iter_documents, load_conversation_data

# A busy machine is slow, which is no mistake of the readers.
unhurried = settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])

NAMES = ["a.txt", "a.jsonl", "a", "a.csv", "a.tsv", "a.yaml"]
# No surrogates, which UTF-8 cannot hold, and no NUL, which no text file holds.
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
CONTENTS = st.text(CHARACTERS, min_size=1).map(str.strip).filter(bool)
MARKS = ["<user>", "<Assistant>:", "<bot>", "<system>", "<bos>", "<eos>", "<|endoftext|>"]
SPACES = ["\n", "\n\n", "\r", " ", "\u2028"]
PIECES = [
    "# ",
    "\\#",
    "hi",
    "{",
    "[",
    "]",
    "}",
    ",",
    '{"text": "a"}',
    '{"messages": [',
    '{"role": "bot", "content": "a"}',
]
CHATTY_TEXT = st.lists(st.sampled_from([*MARKS, *SPACES, *PIECES])).map("".join)
RECORD_KEYS = [
    "messages",
    "conversations",
    "conversation",
    "instruction",
    "input",
    "output",
    "system",
    "history",
    "text",
    "dialog",
    "prompt",
    "completion",
    "chosen",
    "rejected",
    "context",
    "mapping",
    "conversation_id",
    "message_id",
    "parent_id",
]
MESSAGE_KEYS = ["role", "from", "content", "value", "type", "tool_calls", "other", "speaker", "rank"]
JSON_KEYS = st.sampled_from([*RECORD_KEYS, *MESSAGE_KEYS])
JSON_TEXTS = st.sampled_from(["user", "assistant", "system", "tool", "text", "<bos> a <eos>", "", "\ud800"]) | st.text()
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | JSON_TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(JSON_KEYS, inner),
    max_leaves=20,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


@st.composite
def conversations(draw):
    """Conversations as the readers make them: the roles of neighbours differ and somewhere the assistant speaks."""
    roles = draw(st.lists(st.sampled_from(["system", "user", "assistant"]), min_size=1, max_size=6))
    roles = [role for role, before in zip(roles, [None, *roles], strict=False) if role != before]
    if "assistant" not in roles:
        roles.append("assistant")
    return [{"role": role, "content": draw(CONTENTS)} for role in roles]


@unhurried
@given(st.lists(conversations(), min_size=1, max_size=4), st.sampled_from([None, 1]), st.booleans())
def test_json_round_trip(folder, chats, indent, ensure_ascii):
    path = folder / "chats.json"
    records = [{"messages": chat} for chat in chats]
    path.write_text(json.dumps(records, indent=indent, ensure_ascii=ensure_ascii), encoding="utf-8", newline="")
    assert load_conversation_data(path) == chats
    lines = "".join(json.dumps(record, ensure_ascii=ensure_ascii) + "\n" for record in records)
    path.write_text(lines, encoding="utf-8", newline="")
    assert load_conversation_data(path) == chats


@unhurried
@given(st.lists(conversations(), min_size=1, max_size=4), st.booleans(), st.sampled_from([",\n", "\n", ", "]))
def test_specified_form_round_trip(folder, chats, brackets, separator):
    path = folder / "chats.json"
    records = [
        {
            "id": number,
            "conversation": [{"role": turn["role"], "text": f"<bos> {turn['content']} <eos>"} for turn in chat],
        }
        for number, chat in enumerate(chats)
    ]
    if brackets:
        text = json.dumps(records, indent=2)
    else:
        text = separator.join(json.dumps(record, indent=2) for record in records)
    path.write_text(text, encoding="utf-8")
    assert load_conversation_data(path) == chats


def as_tagged(chat) -> str:
    return "<bos>\n" + "".join(f"<{turn['role']}>\n{escaped(turn['content'])}\n" for turn in chat) + "<eos>\n"


def escaped(content: str) -> str:
    return "\n".join(re.sub(r"^(\s*)(\\*#)", r"\1\\\2", line) for line in content.split("\n"))


@unhurried
@example([[{"role": "assistant", "content": "a\n# b\n \\# c"}]])
@given(st.lists(conversations(), min_size=1, max_size=4))
def test_tagged_round_trip(folder, chats):
    path = folder / "chats.txt"
    # Text files know one line end only, and tagged text has no way to quote a tag.
    for chat in chats:
        for turn in chat:
            turn["content"] = turn["content"].replace("\r", "\n").replace("<", "(")
    path.write_text("".join(as_tagged(chat) for chat in chats), encoding="utf-8", newline="")
    assert load_conversation_data(path) == chats


@unhurried
@given(st.lists(CONTENTS, min_size=1, max_size=5))
def test_documents_round_trip(folder, documents):
    path = folder / "documents.txt"
    # Text files know one line end only, and a separator among the documents parts them.
    documents = [document.replace("\r", "\n").replace("<", "(") for document in documents]
    path.write_text("\n<|endoftext|>\n".join([*documents, ""]), encoding="utf-8", newline="")
    assert list(iter_documents(path)) == documents


def check_content(folder, content: bytes) -> None:
    """Read a file in every way; nothing but good conversations, good documents or a `DataError` may come out."""
    for name in NAMES:
        path = folder / name
        path.write_bytes(content)
        for read in (iter_conversations, iter_documents):
            found = []
            summary = ReadSummary(path)
            try:
                found.extend(read(path, summary))
            except DataError as error:
                check_error(error, path, content)
            else:
                assert found
            assert summary.kept == len(found)
            assert all(sentence.isprintable() for sentence in summary.sentences())
            for item in found:
                texts = [item] if isinstance(item, str) else [message["content"] for message in item]
                assert all(text == text.strip() and text for text in texts)
                assert "".join(texts).encode("utf-8")
                if not isinstance(item, str):
                    assert "assistant" in [message["role"] for message in item]


def check_error(error: DataError, path, content: bytes) -> None:
    message = str(error)
    assert message.startswith(str(path))
    assert message.removeprefix(str(path)).isprintable()
    if error.line is not None:
        assert 1 <= error.line <= content.count(b"\n") + content.count(b"\r") + 1


@unhurried
@given(st.binary())
def test_any_bytes(folder, content):
    check_content(folder, content)


@unhurried
@given(st.text(CHARACTERS) | CHATTY_TEXT)
def test_any_text(folder, text):
    check_content(folder, text.encode("utf-8"))


@unhurried
@given(st.lists(JSON_VALUES, max_size=3), st.sampled_from([None, 1]))
def test_any_json(folder, values, indent):
    check_content(folder, "\n".join(json.dumps(value, indent=indent) for value in values).encode("utf-8"))
    check_content(folder, json.dumps(values, indent=indent).encode("utf-8"))
