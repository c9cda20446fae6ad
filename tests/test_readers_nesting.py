"""What stands around conversations and beside them: system messages, instructions, weights, pictures, trees."""

import pytest
from reading import chat, lines, read

ASKED = chat("S:Talk like a pirate.", "U:Deep?", "A:Arr.")
SYSTEM = "Talk like a pirate."


@pytest.mark.parametrize("key", ["system", "system_prompt", "System Message", "systemPrompt"])
@pytest.mark.parametrize(
    "record",
    [
        {"conversation": "User: Deep?\nAssistant: Arr."},
        {"conversation": "System: Talk like a pirate.\nUser: Deep?\nAssistant: Arr."},
        {"dialogue": ["Deep?", "Arr."]},
        {"text": "Human: Deep?\nAssistant: Arr."},
        {"messages": ASKED[1:]},
        {"messages": ASKED},
        {"prompt": "Deep?", "response": "Arr."},
        {"prompt": "Deep?", "chosen": "Arr.", "rejected": "No."},
        {"conversations": [["Deep?", "Arr."]]},
        {"conversations": [ASKED[1:]]},
        {"data": [{"prompt": "Deep?", "response": "Arr."}]},
        {"data": [{"messages": ASKED[1:]}]},
        {"item": {"messages": ASKED[1:]}},
    ],
)
def test_a_system_message_beside_a_conversation(tmp_path, record, key):
    assert read(tmp_path / "a.jsonl", lines({key: SYSTEM, **record})).items == [ASKED]


def test_a_system_message_in_a_column(tmp_path):
    text = f'system,dialogue\n{SYSTEM},"User: Deep?\nAssistant: Arr."\n'
    assert read(tmp_path / "a.csv", text).items == [ASKED]


@pytest.mark.parametrize(
    ("record", "conversations"),
    [
        (
            {
                "instruction": "Say the opposite.",
                "instances": [{"input": "hot", "output": "cold"}, {"input": "", "output": "x"}],
            },
            [chat("U:Say the opposite.\n\nhot", "A:cold"), chat("U:Say the opposite.", "A:x")],
        ),
        (
            {
                "Definition": ["Say the opposite."],
                "Instances": [{"input": "hot", "output": ["cold"]}],
                "Positive Examples": [{"input": "a", "output": "b"}],
                "Negative Examples": [{"input": "a", "output": "bad"}],
            },
            [chat("U:Say the opposite.\n\nhot", "A:cold")],
        ),
        (
            {
                "context": "The pond is deep.",
                "qas": [{"question": "Deep?", "answer": "Yes."}, {"question": "Cold?", "answer": "No."}],
            },
            [chat("U:Deep?\n\nThe pond is deep.", "A:Yes."), chat("U:Cold?\n\nThe pond is deep.", "A:No.")],
        ),
        (
            {"system": SYSTEM, "data": [{"prompt": "a", "response": "b", "system": "Own."}]},
            [chat("S:Own.", "U:a", "A:b")],
        ),
    ],
)
def test_what_is_around_records_is_read_with_them(tmp_path, record, conversations):
    assert read(tmp_path / "a.jsonl", lines(record)).items == conversations


def test_replies_of_different_worth_are_not_read_as_if_all_were_good(tmp_path):
    record = {"instruction": "a", "completions": [{"response": "bad", "score": 1}, {"response": "good", "score": 9}]}
    found = read(tmp_path / "a.jsonl", lines(record))
    assert (found.items, found.skipped) == ([], {"not understood": 1})


@pytest.mark.parametrize(
    "mark",
    [
        *(
            {"weight": 0},
            {"weight": 0.0},
            {"loss_weight": 0},
            {"train_on_turn": False},
            {"train": False},
            {"trainable": "false"},
        ),
        *({"loss": False}, {"masked": True}, {"ignore_loss": True}),
    ],
)
def test_replies_that_are_not_to_be_learnt_are_said(tmp_path, mark):
    turns = chat("U:a", "A:b", "U:c", "A:d")
    found = read(tmp_path / "a.jsonl", lines({"messages": [turns[0], {**turns[1], **mark}, *turns[2:]]}))
    assert found.items == [turns]
    said = "replies marked as not to be learnt (weight 0 or the like), which are learnt all the same"
    assert found.said == [f"{said}: 1"]


def test_other_weights_need_no_word(tmp_path):
    turns = chat("U:a", "A:b")
    messages = [{**turns[0], "weight": 0}, {**turns[1], "weight": 1, "train": True}]
    assert read(tmp_path / "a.json", {"messages": messages}).said == []


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Two metres."}], "Two metres."),
        ([{"type": "redacted_thinking", "data": "x"}, {"type": "text", "text": "Two metres."}], "Two metres."),
        ([{"type": "reasoning", "text": "hm"}, {"type": "text", "text": "Two metres."}], "Two metres."),
        (
            [
                {"type": "text", "text": "Two"},
                {"type": "thinking", "thinking": "hm"},
                {"type": "text", "text": "metres."},
            ],
            "Two\nmetres.",
        ),
        ([{"type": "text", "text": "Two "}, {"type": "text", "text": "metres."}], "Two metres."),
        ([], "Two metres."),
    ],
)
def test_exports_of_claude_with_thoughts(tmp_path, parts, text):
    messages = [
        {"sender": "human", "text": "Deep?", "content": [{"type": "text", "text": "Deep?"}]},
        {"sender": "assistant", "text": "Two metres.", "content": parts},
    ]
    found = read(tmp_path / "conversations.json", [{"uuid": "1", "name": "Pond", "chat_messages": messages}])
    assert found.items == [chat("U:Deep?", f"A:{text}")]


def test_thoughts_beside_a_reply_are_said(tmp_path):
    messages = [*chat("U:a"), {"role": "assistant", "reasoning_content": "hm", "content": "b"}]
    found = read(tmp_path / "a.json", {"messages": messages})
    assert (found.items, found.said) == ([chat("U:a", "A:b")], ["left out: thoughts of a model beside its replies (1)"])


PICTURES = "parts that are no text"


@pytest.mark.parametrize(
    "record",
    [
        {
            "image": "a.jpg",
            "conversations": [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A pond."}],
        },
        {"images": ["a.jpg"], "messages": chat("U:What?", "A:A pond.")},
        {"image_path": "a.jpg", "prompt": "What?", "response": "A pond."},
        {"videos": ["a.mp4"], "messages": chat("U:What?", "A:A pond.")},
        {"messages": chat("U:<image>\nWhat?", "A:A pond.")},
        {"messages": chat("U:What?\n<image>", "A:A pond.")},
        {"messages": chat("U:<|image|>What?", "A:A pond.")},
        {"messages": chat("U:<image>", "A:A pond.")},
    ],
)
def test_pictures_are_left_out(tmp_path, record):
    found = read(tmp_path / "a.jsonl", lines(record, {"messages": chat("U:hi", "A:hello")}))
    assert (found.items, found.skipped) == ([chat("U:hi", "A:hello")], {PICTURES: 1})


def test_talk_about_pictures_is_read(tmp_path):
    for turns in (
        chat("U:What is <image> in SVG?", "A:<image> draws one."),
        chat("U:Does <video> play?", "A:It does."),
    ):
        assert read(tmp_path / "a.jsonl", lines({"messages": turns, "image": None, "images": []})).items == [turns]


def test_a_picture_in_a_chatgpt_export(tmp_path):
    def node(role, parts, parent):
        return {
            "message": {"author": {"role": role}, "content": {"content_type": "text", "parts": parts}},
            "parent": parent,
        }

    picture = {"content_type": "image_asset_pointer", "asset_pointer": "x"}
    exports = [
        {
            "current_node": "b",
            "mapping": {"a": node("user", [picture, "What?"], None), "b": node("assistant", ["A pond."], "a")},
        },
        {"current_node": "b", "mapping": {"a": node("user", ["Deep?"], None), "b": node("assistant", ["Very."], "a")}},
    ]
    found = read(tmp_path / "conversations.json", exports)
    assert (found.items, found.skipped) == ([chat("U:Deep?", "A:Very.")], {PICTURES: 1})


@pytest.mark.parametrize(
    ("id_key", "parent_key"),
    [
        ("message_id", "parent_id"),
        ("id", "parent_message_id"),
        ("messageId", "parentMessageId"),
        ("uuid", "parent_uuid"),
    ],
)
@pytest.mark.parametrize("conversation", [True, False])
def test_rows_with_parents_are_as_many_conversations_as_trees(tmp_path, id_key, parent_key, conversation):
    rows = [
        {id_key: "1", parent_key: None, "role": "user", "text": "Deep?"},
        {id_key: "2", parent_key: "1", "role": "assistant", "text": "Very."},
        {id_key: "3", parent_key: "", "role": "user", "text": "Cold?"},
        {id_key: "4", parent_key: "3", "role": "assistant", "text": "No."},
        {id_key: "5", parent_key: "3", "role": "assistant", "text": "Asked for again."},
    ]
    if conversation:
        rows = [{"conversation_id": row[id_key] > "2", **row} for row in rows]
    found = read(tmp_path / "a.jsonl", lines(*rows))
    assert found.items == [chat("U:Deep?", "A:Very."), chat("U:Cold?", "A:No.")]
    assert found.said == ["left out: replies that are not on the best line of their tree (1)"]


def test_a_list_whose_messages_name_the_one_before(tmp_path):
    messages = [
        {"uuid": "1", "parent_message_uuid": "0", "sender": "human", "text": "Deep?"},
        {"uuid": "2", "parent_message_uuid": "1", "sender": "assistant", "text": "No."},
        {"uuid": "3", "parent_message_uuid": "1", "sender": "assistant", "text": "Very."},
    ]
    found = read(tmp_path / "a.json", [{"chat_messages": messages}])
    assert found.items == [chat("U:Deep?", "A:Very.")]
    assert found.said == ["left out: replies that are not on the best line of their tree (1)"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "a.jsonl",
            "\ufeff"
            + lines({"prompt": "hi", "response": "hello"})
            + "\ufeff"
            + lines({"prompt": "bye", "response": "see you"}),
        ),
        ("a.csv", "\ufeffprompt,response\nhi,hello\n\ufeffbye,see you\n"),
        ("a.txt", "<user> hi\n<assistant> hello\n\n\ufeff<user> bye\n<assistant> see you\n"),
        ("a.txt", "hi ||| hello\n\ufeffbye ||| see you\n"),
    ],
)
def test_a_byte_order_mark_inside_a_file(tmp_path, name, text):
    assert read(tmp_path / name, text).items == [chat("U:hi", "A:hello"), chat("U:bye", "A:see you")]
