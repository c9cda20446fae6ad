"""Labels that part turns, labels that are words of a text, and speakers without telling names."""

import pytest
from reading import chat, lines, read


@pytest.mark.parametrize(
    ("text", "conversations"),
    [
        pytest.param(
            "Human: What PC?\nAI: It has:\nModel: X1\nSystem: Linux\nUser: root\n\nHuman: ok\nAI: fine\n",
            [chat("U:What PC?", "A:It has:\nModel: X1\nSystem: Linux\nUser: root"), chat("U:ok", "A:fine")],
            id="reply",
        ),
        pytest.param(
            "User: I have\nModel: X200\nSystem: Linux\nAssistant: I see.\n",
            [chat("U:I have\nModel: X200\nSystem: Linux", "A:I see.")],
            id="question",
        ),
        pytest.param(
            "User: a\nBot: b:\nModel: x\nModel: y\nModel: z\n",
            [chat("U:a", "A:b:\nModel: x\nModel: y\nModel: z")],
            id="more_often_than_the_label",
        ),
        pytest.param(
            "User: a\nAssistant: b:\n\nSystem: Linux\nThat is all.\n\nUser: c\nAssistant: d\n",
            [chat("U:a", "A:b:\n\nSystem: Linux\nThat is all."), chat("U:c", "A:d")],
            id="system_after_a_gap",
        ),
        pytest.param(
            "**User:** a\n**Assistant:** b:\n**Model:** X\n**User:** c\n**Assistant:** d\n",
            [chat("U:a", "A:b:\n**Model:** X", "U:c", "A:d")],
            id="bold",
        ),
        pytest.param(
            "Person 1: hi\nPerson 2: You:\nAgent: x\nUser: y\nPerson 1: bye\nPerson 2: see\n",
            [chat("U:hi", "A:You:\nAgent: x\nUser: y", "U:bye", "A:see")],
            id="numbered",
        ),
        pytest.param(
            "System: Be kind.\nUser: a\nAssistant: b\n\nSystem: Be rude.\nUser: c\nAssistant: d:\nSystem: Linux\n",
            [chat("S:Be kind.", "U:a", "A:b"), chat("S:Be rude.", "U:c", "A:d:\nSystem: Linux")],
            id="systems",
        ),
        pytest.param(
            "User: a\nAssistant: b\n\nSystem: Be rude.\nUser: c\nAssistant: d\n",
            [chat("U:a", "A:b"), chat("S:Be rude.", "U:c", "A:d")],
            id="system_later",
        ),
        pytest.param(
            "System: q\nUser: a\nAssistant: b\nSystem: s\nUser: c\nAssistant: d\n",
            [chat("S:q", "U:a", "A:b"), chat("S:s", "U:c", "A:d")],
            id="systems_without_gaps",
        ),
        pytest.param(
            "User: a\nAssistant: b\n\nHuman: c\nAI: d\n\nUser: e\nAssistant: f\n",
            [chat("U:a", "A:b"), chat("U:c", "A:d"), chat("U:e", "A:f")],
            id="put_together",
        ),
        pytest.param(
            "User: a\nBot: b\nUser: c\nAssistant: d\nUser: e\nBot: f\n",
            [chat("U:a", "A:b", "U:c", "A:d", "U:e", "A:f")],
            id="two_names_in_turn",
        ),
        pytest.param(
            "User: a\nAssistant: b\nAssistant: c\nUser: d\nAssistant: e\n",
            [chat("U:a", "A:b\nc", "U:d", "A:e")],
            id="twice",
        ),
        pytest.param(
            "User: a\nAssistant: b\n\n\ufeffUser: c\nAssistant: d\n", [chat("U:a", "A:b"), chat("U:c", "A:d")], id="bom"
        ),
        pytest.param(
            "User: a\nAssistant: b <|endoftext|>\nUser: c\nAssistant: d <|endoftext|>\n",
            [chat("U:a", "A:b"), chat("U:c", "A:d")],
            id="end_of_text",
        ),
    ],
)
def test_only_labels_that_part_turns(tmp_path, text, conversations):
    assert read(tmp_path / "a.txt", text).items == conversations


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "a.csv",
            'dialog\n"User: What?\nAssistant: It is\nModel: X\nSystem: Linux\nHuman: 46\nUser: ok\nAssistant: yes"\n',
        ),
        (
            "a.jsonl",
            lines(
                {"text": "User: What?\nAssistant: It is\nModel: X\nSystem: Linux\nHuman: 46\nUser: ok\nAssistant: yes"}
            ),
        ),
    ],
)
def test_labels_inside_cells(tmp_path, name, text):
    assert read(tmp_path / name, text).items == [
        chat("U:What?", "A:It is\nModel: X\nSystem: Linux\nHuman: 46", "U:ok", "A:yes")
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Speaker 10", "Speaker 12"),
        ("person9", "person10"),
        ("Speaker C", "Speaker D"),
        ("user_99", "user_100"),
        ("#Person1#", "#Person2#"),
    ],
)
def test_numbered_speakers(tmp_path, one, other):
    assert read(tmp_path / "a.txt", f"{one}: hi\n{other}: hello\n").items == [chat("U:hi", "A:hello")]
    if "#" not in one:
        turns = [{"speaker": one, "text": "hi"}, {"speaker": other, "text": "hello"}]
        assert read(tmp_path / "a.json", {"turns": turns}).items == [chat("U:hi", "A:hello")]


def test_speakers_that_are_numbers(tmp_path):
    text = "dialogue_id,speaker_id,text\n1,101,hi\n1,102,hello\n2,1203,bye\n2,7,see you\n"
    assert read(tmp_path / "a.csv", text).items == [chat("U:hi", "A:hello"), chat("U:bye", "A:see you")]


def test_three_numbered_speakers_are_no_user_and_assistant(tmp_path):
    assert read(tmp_path / "a.txt", "Speaker 10: hi\nSpeaker 11: hello\nSpeaker 12: you\n").items == []


@pytest.mark.parametrize(
    ("text", "conversations", "comments"),
    [
        ("<user> How?\n<assistant> Like this:\n# adds\nprint(1)\n", [chat("U:How?", "A:Like this:\nprint(1)")], 1),
        ("<user> How?\n# x\n<assistant> so\n", [chat("U:How?", "A:so")], 1),
        (
            "# head\n\n<user> a\n<assistant> b\n\n# between\n<user> c\n<assistant> d\n",
            [chat("U:a", "A:b"), chat("U:c", "A:d")],
            0,
        ),
        ("<user> a\n<assistant> b\n\n# one\n# two\nmore\n", [chat("U:a", "A:b\n\nmore")], 2),
        ("<user> a\n<assistant> b\n\\# kept\n", [chat("U:a", "A:b\n# kept")], 0),
    ],
)
def test_comments_inside_turns_are_counted(tmp_path, text, conversations, comments):
    found = read(tmp_path / "a.txt", text)
    assert found.items == conversations
    what = "comment lines inside turns, which begin with #; a line of text that does is written \\#"
    assert found.said == ([f"left out: {what} ({comments})"] if comments else [])


TOOLS = "tools, which a model here cannot call"


@pytest.mark.parametrize(
    "record",
    [
        {
            "system": "SYSTEM: You may call lamp.",
            "chat": "USER: Lamp on.\n\n\nASSISTANT: <functioncall> {} <|endoftext|>\n\n\n"
            "FUNCTION RESPONSE: {}\n\n\nASSISTANT: Ok",
        },
        {"chat": "USER: Lamp on.\n\n\nASSISTANT: Wait. <|endoftext|>\n\n\nFUNCTION RESPONSE: {}\n\n\nASSISTANT: Ok"},
        {"messages": chat("U:a", "A:<tool_call>\n{}\n</tool_call>")},
        {"prompt": "a", "response": "<functioncall> {}"},
        {"text": "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n<|im_start|>tool\nc<|im_end|>"},
        {"text": "[INST] a [/INST] [TOOL_CALLS] [{}]</s>"},
        {"text": "<|user|>\na\n<|assistant|>\nb\n<|observation|>\nc"},
        {
            "text": "<|start_header_id|>user<|end_header_id|>\n\na<|eot_id|>"
            "<|start_header_id|>ipython<|end_header_id|>\n\nb"
            "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nc"
        },
        {"text": "### Human: a\n### Tool: b\n### Assistant: c"},
        {"messages": [*chat("U:a"), {"role": "tool_result", "content": "b"}, *chat("A:c")]},
        {"messages": [*chat("U:a"), {"role": "assistant", "content": [{"type": "tool_use", "name": "b"}]}]},
        {"messages": [*chat("U:a"), {"role": "assistant", "content": "", "toolCalls": [{}]}]},
        {
            "conversations": [
                {"from": "human", "value": "a"},
                {"from": "function-call", "value": "b"},
                {"from": "gpt", "value": "c"},
            ]
        },
    ],
)
def test_calls_of_tools_are_left_out_in_all_forms(tmp_path, record):
    found = read(tmp_path / "a.jsonl", lines(record, {"messages": chat("U:hi", "A:hello")}))
    assert (found.items, found.skipped) == ([chat("U:hi", "A:hello")], {TOOLS: 1})


def test_tools_in_a_text_file(tmp_path):
    text = "User: a\nAssistant: b\nFUNCTION RESPONSE: c\nAssistant: d\n\nUser: e\nAssistant: f\n"
    found = read(tmp_path / "a.txt", text)
    assert (found.items, found.skipped) == ([chat("U:e", "A:f")], {TOOLS: 1})


def test_what_only_looks_like_a_call_is_read(tmp_path):
    for turns in (
        chat("S:Write <tool_call> to call.", "U:a", "A:b"),
        chat("U:a <function> b", "A:Tool: a hammer\nFunction: to hit"),
    ):
        assert read(tmp_path / "a.jsonl", lines({"messages": turns, "tools": []})).items == [turns]


def test_glaives_chats_without_calls(tmp_path):
    record = {
        "system": "SYSTEM: You are kind.\n",
        "chat": "USER: Hi.\n\n\nASSISTANT: Hello. <|endoftext|>\n\n\n"
        "USER: Bye\n\n\nASSISTANT: See you. <|endoftext|>\n\n\n",
    }
    conversation = chat("S:You are kind.", "U:Hi.", "A:Hello.", "U:Bye", "A:See you.")
    assert read(tmp_path / "a.json", [record]).items == [conversation]
