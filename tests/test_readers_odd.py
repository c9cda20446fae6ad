"""Nothing stops for one odd record: null is an empty text, and what is not understood is left out and counted."""

import json

import pytest
from reading import chat, lines, read

HI = chat("U:hi", "A:hello")
BYE = chat("U:bye", "A:see you")
GOOD, GOOD_TOO = {"messages": HI}, {"messages": BYE}
ODD = "not understood"
EMPTY_REPLY, EMPTY_QUESTION = "an empty assistant turn", "an empty user turn"


@pytest.mark.parametrize(
    ("name", "text", "conversations", "skipped"),
    [
        pytest.param(
            "a.jsonl",
            lines({"messages": [*chat("U:hi"), {"role": "assistant", "content": None}]}, GOOD),
            [HI],
            {EMPTY_REPLY: 1},
            id="content",
        ),
        pytest.param("a.jsonl", lines({"messages": None}, GOOD), [HI], {"no assistant turn": 1}, id="messages"),
        pytest.param(
            "a.jsonl",
            lines({"conversations": [{"from": "human", "value": None}, {"from": "gpt", "value": "b"}]}, GOOD),
            [HI],
            {EMPTY_QUESTION: 1},
            id="sharegpt",
        ),
        pytest.param("a.json", {"dialogs": [["hi", None], ["hi", "hello"]]}, [HI], {EMPTY_REPLY: 1}, id="texts"),
        pytest.param(
            "a.jsonl",
            lines({"question": "a", "answer": None, "text": None}, {"question": "hi", "answer": "hello"}),
            [HI],
            {EMPTY_REPLY: 1},
            id="answer",
        ),
        pytest.param(
            "a.jsonl",
            lines(
                {"instruction": "hi", "input": None, "output": "hello"},
                {"instruction": None, "input": None, "output": "b"},
                {"instruction": "a", "input": "", "output": None},
            ),
            [HI],
            {EMPTY_QUESTION: 1, EMPTY_REPLY: 1},
            id="alpaca",
        ),
        pytest.param(
            "a.jsonl",
            lines(
                {"prompt": "a", "chosen": None, "rejected": "b"}, {"prompt": "hi", "chosen": "hello", "rejected": None}
            ),
            [HI],
            {EMPTY_REPLY: 1},
            id="chosen",
        ),
        pytest.param(
            "a.jsonl",
            lines(
                {"conversation_id": 1, "role": "user", "text": None},
                {"conversation_id": 1, "role": "assistant", "text": "b"},
                {"conversation_id": 2, "role": "user", "text": "hi"},
                {"conversation_id": 2, "role": "assistant", "text": "hello"},
            ),
            [HI],
            {EMPTY_QUESTION: 1},
            id="rows",
        ),
        pytest.param(
            "a.yml", "- question: a\n  answer:\n- question: hi\n  answer: hello\n", [HI], {EMPTY_REPLY: 1}, id="yaml"
        ),
        pytest.param(
            "a.csv", "prompt,response\na,\nhi,hello\n,b\n", [HI], {EMPTY_REPLY: 1, EMPTY_QUESTION: 1}, id="csv"
        ),
    ],
)
def test_null_is_an_empty_text(tmp_path, name, text, conversations, skipped):
    found = read(tmp_path / name, text)
    assert (found.items, found.skipped, found.error) == (conversations, skipped, "")


def test_null_in_parquet(tmp_path):
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "a.parquet"
    rows = [{"prompt": "hi", "response": "hello"}, {"prompt": "a", "response": None}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    found = read(path, path.read_bytes())
    assert (found.items, found.skipped) == ([HI], {EMPTY_REPLY: 1})


def test_null_texts_of_documents(tmp_path):
    text = lines({"text": None}, {"text": "one"}, {"document": None, "text": None}, {"text": ""}, {"text": "two"})
    found = read(tmp_path / "a.jsonl", text, documents=True)
    assert (found.items, found.skipped) == (["one", "two"], {"an empty text": 3})
    assert read(tmp_path / "a.jsonl", text).error.endswith("documents, not conversations: give the file to --pretrain")


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize(
    ("record", "what"),
    [
        ({"messages": [{"role": "narrator", "content": "x"}, *HI]}, 'role "narrator" is not read, only system, user'),
        ({"conversations": [{"from": "human", "value": "q"}, {"from": "bing", "value": "r"}]}, 'role "bing" is not'),
        ({"messages": "nothing"}, "messages does not mark who speaks"),
        ({"messages": [{"role": "user"}, {"role": "assistant", "content": "x"}]}, "a message has no text"),
        ({"messages": [HI[0], "junk", HI[1]]}, "a message must be an object with a role, found a text"),
        ({"foo": 1}, "no known form of record"),
        ({"text": "only a text"}, "a text, not a conversation"),
        ({"prompt": "a", "answer": "b", "response": "c"}, "unclear which is the reply"),
        ("junk", "a text"),
        (1.5, "expected an object with a conversation or a text, found a number"),
        (None, "expected an object with a conversation or a text, found null"),
    ],
)
def test_an_odd_record_is_left_out_wherever_it_stands(tmp_path, record, what, position):
    records = [GOOD, GOOD_TOO]
    records.insert(position, record)
    for text in (json.dumps(records, indent=1), json.dumps({"data": records})):
        if "data" in text and position == 0:
            continue
        found = read(tmp_path / "a.json", text)
        assert found.items == [HI, BYE]
        assert found.skipped == {ODD: 1}
        assert what in found.said[0]


@pytest.mark.parametrize(
    ("name", "text", "conversations", "said"),
    [
        pytest.param(
            "a.jsonl",
            lines(GOOD) + "{broken\n" + lines(GOOD_TOO),
            [HI, BYE],
            "line 2: this line is no JSON",
            id="no_json",
        ),
        pytest.param(
            "a.jsonl", "{broken\n" + lines(GOOD, GOOD_TOO), [HI, BYE], "line 1: this line is no JSON", id="at_first"
        ),
        pytest.param(
            "a.jsonl",
            "# made by hand\n" + lines(GOOD, GOOD_TOO),
            [HI, BYE],
            "line 1: this line is no JSON",
            id="comment",
        ),
        pytest.param(
            "a.jsonl",
            lines(GOOD) + '{"messages": [{"role": "us\n' + lines(GOOD_TOO),
            [HI, BYE],
            "line 2: this",
            id="cut",
        ),
        pytest.param(
            "a.csv",
            "prompt,response\nhi,hello\nalone\na,b,c\nbye,see you\nbye,see you\n",
            [HI, BYE, BYE],
            "line 3: 1 cells where the first line has 2 columns",
            id="cells",
        ),
        pytest.param(
            "a.csv",
            "prompt,response\nhi,hello\nprompt,response\nbye,see you\n",
            [HI, BYE],
            "line 3: the names of the columns once more",
            id="header_again",
        ),
        pytest.param(
            "a.csv",
            'dialogue\n"User: hi\nBot: hello"\n"* * *\nUser: a\nBot: b"\n',
            [HI],
            "line 4: dialogue does not mark who speaks",
            id="cell",
        ),
        pytest.param(
            "a.csv",
            "conversation_id,role,text\n1,narrator,a\n1,bot,b\n2,user,hi\n2,bot,hello\n",
            [HI],
            'line 2: role "narrator" is not read',
            id="rows",
        ),
        pytest.param(
            "a.csv",
            "session_id,role,text\n1,user,hi\n1,bot,hello\n2,user,bye\n2,bot,see you\n",
            [HI, BYE],
            "",
            id="session",
        ),
        pytest.param(
            "a.yml",
            "conversations:\n- - hi\n  - hello\n- Cold?\n  - Yes.\n",
            [HI],
            "line 4: a text where the others are conversations; is a dash or a bracket missing?",
            id="dash",
        ),
        pytest.param(
            "a.yml",
            "conversations:\n- Cold?\n  - Yes.\n- - hi\n  - hello\n",
            [HI],
            "line 2: a text where",
            id="first_dash",
        ),
        pytest.param(
            "a.yml",
            "- question: hi\n  answer: hello\n- stray\n- question: bye\n  answer: see you\n",
            [HI, BYE],
            "line 3: a text where",
            id="yaml_text",
        ),
        pytest.param(
            "a.json",
            {"id1": HI, "id2": [{"role": "narrator", "content": "x"}, HI[1]], "id3": BYE},
            [HI, BYE],
            'line 1: role "narrator" is not read',
            id="dict",
        ),
        pytest.param(
            "a.txt",
            "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nhello<|im_end|>\n\n"
            "<|im_start|>user\na<|im_end|>\n<|im_start|>narrator\nb<|im_end|>\n",
            [HI],
            'line 8: role "narrator" is not read',
            id="chatml",
        ),
        pytest.param(
            "a.jsonl",
            lines(
                {"message_id": "a", "parent_id": None, "role": "prompter", "text": "hi"},
                {"message_id": "b", "parent_id": "a", "role": "assistant", "text": "hello"},
                {"message_id": "c", "parent_id": "lost", "role": "assistant", "text": "r"},
            ),
            [HI],
            'line 3: its parent "lost" is no message of this file',
            id="orphan",
        ),
    ],
)
def test_odd_lines_of_every_form(tmp_path, name, text, conversations, said):
    found = read(tmp_path / name, text)
    assert (found.items, found.error) == (conversations, "")
    assert said in "".join(found.said)
    assert (ODD in found.skipped) == bool(said)


def test_a_file_of_more_odd_records_than_others_is_refused(tmp_path):
    odd = {"messages": [{"role": "narrator", "content": "x"}]}
    half = read(tmp_path / "a.jsonl", lines(GOOD, odd, GOOD, odd))
    assert (half.items, half.error) == ([HI, HI], "")
    more = read(tmp_path / "a.jsonl", lines(GOOD, odd, odd))
    assert more.items == [HI]
    assert more.error.startswith(
        'a.jsonl:2: role "narrator" is not read, only system, user and assistant: rename the role'
    )
    assert more.error.endswith("; 2 of 3 are not understood")


def test_texts_are_told_from_conversations_soon(tmp_path):
    found = read(tmp_path / "a.jsonl", lines(*({"text": f"text {n}"} for n in range(1000))))
    assert found.error == "a.jsonl:1: documents, not conversations: give the file to --pretrain"
    assert found.skipped[ODD] == 64


def test_a_cut_file_is_an_error(tmp_path):
    """More may be missing than the last record."""
    for text in (lines(GOOD, GOOD)[:-9], lines(GOOD) + "{", json.dumps([GOOD, GOOD], indent=1)[:-9]):
        assert "broken JSON" in read(tmp_path / "a.jsonl", text).error
