"""The forms of record that popular datasets have: each read, left out with a word, or refused by name."""

import json

import pytest

from tinylm.data import DataError, ReadSummary, iter_conversations, iter_documents, load_conversation_data

ROLES = {"S": "system", "U": "user", "A": "assistant"}


def chat(*turns: str) -> list[dict[str, str]]:
    """A conversation from turns such as "U:Hi"."""
    return [{"role": ROLES[turn[0]], "content": turn[2:]} for turn in turns]


HI = chat("U:hi", "A:hello")
LONG = chat("U:hi", "A:hello", "U:bye", "A:see you")
EXPORT = {
    "title": "t",
    "current_node": "c",
    "mapping": {
        "r": {"message": None, "parent": None},
        "s": {"message": {"author": {"role": "system"}, "content": {"parts": [""]}}, "parent": "r"},
        "a": {"message": {"author": {"role": "user"}, "content": {"parts": ["hi"]}}, "parent": "s"},
        "b": {"message": {"author": {"role": "assistant"}, "content": {"parts": ["no"]}}, "parent": "a"},
        "c": {"message": {"author": {"role": "assistant"}, "content": {"parts": ["hello"]}}, "parent": "a"},
    },
}
TREE = {
    "message_tree_id": "1",
    "prompt": {
        "text": "hi",
        "role": "prompter",
        "replies": [
            {"text": "what?", "role": "assistant", "rank": 1, "replies": []},
            {"text": "hello", "role": "assistant", "rank": 0, "replies": []},
        ],
    },
}
PERSONA = {
    "personality": ["i like tea .", "i sing ."],
    "utterances": [
        {"history": ["hi"], "candidates": ["bad", "hello"]},
        {"history": ["hi", "hello", "bye"], "candidates": ["bad", "see you"]},
    ],
}


@pytest.mark.parametrize(
    ("record", "conversation"),
    [
        pytest.param({"prompt": "hi", "completion": "hello"}, HI, id="prompt_completion"),
        pytest.param({"Prompt": "hi", " Response ": "hello"}, HI, id="names_in_any_case"),
        pytest.param({"question": "hi", "answer": "hello", "source": "web"}, HI, id="question_answer"),
        pytest.param({"input": "hi", "output": "hello"}, HI, id="input_output"),
        pytest.param({"input": "hi", "target": "hello"}, HI, id="input_target"),
        pytest.param({"Context": "hi", "Response": "hello"}, HI, id="context_response"),
        pytest.param({"user": "hi", "assistant": "hello"}, HI, id="user_assistant"),
        pytest.param({"human": "hi", "bot": "hello"}, HI, id="human_bot"),
        pytest.param({"system_prompt": "s", "question": "hi", "response": "hello"}, chat("S:s") + HI, id="orca"),
        pytest.param(
            {"instruction": "hi", "context": "c", "response": "hello", "category": "qa"},
            chat("U:hi\n\nc", "A:hello"),
            id="dolly",
        ),
        pytest.param({"prompt": chat("U:hi"), "completion": chat("A:hello")}, HI, id="prompt_completion_messages"),
        pytest.param({"prompt": "hi", "chosen": "hello", "rejected": "no"}, HI, id="dpo"),
        pytest.param({"prompt": "hi", "chosen": HI, "rejected": HI}, HI, id="chosen_with_question"),
        pytest.param({"prompt": chat("U:hi"), "chosen": chat("A:hello"), "rejected": []}, HI, id="trl"),
        pytest.param(
            {"chosen": "\n\nHuman: hi\n\nAssistant: hello", "rejected": "\n\nHuman: hi\n\nAssistant: no"}, HI, id="hh"
        ),
        pytest.param(
            {
                "conversations": [{"from": "human", "value": "hi"}],
                "chosen": {"from": "gpt", "value": "hello"},
                "rejected": {"from": "gpt", "value": "no"},
            },
            HI,
            id="sharegpt_preference",
        ),
        pytest.param({"prompt": "hi", "completion": "hello", "label": True}, HI, id="kto"),
        pytest.param({"prompt": "\n\nHuman: hi\n\nAssistant:", "chosen": "hello", "rejected": "no"}, HI, id="hh_two"),
        pytest.param({"prompt": "Human: hi\nAI:", "completion": " hello"}, HI, id="old_openai"),
        pytest.param({"prompt": "Say this: AI:", "completion": "a"}, chat("U:Say this: AI:", "A:a"), id="no_labels"),
        pytest.param({"dialog": ["hi", "hello", "bye", "see you"], "act": [1, 2, 3, 4]}, LONG, id="dailydialog"),
        pytest.param(["hi", "hello"], HI, id="texts"),
        pytest.param({"dialog": [["hi", "hello"], ["bye", "see you"]]}, LONG, id="pairs"),
        pytest.param([["user", "hi"], ["assistant", "hello"]], HI, id="role_text_pairs"),
        pytest.param({"conversation": [{"input": "hi", "output": "hello"}]}, HI, id="capybara"),
        pytest.param(
            {"chat_messages": [{"sender": "human", "text": "hi"}, {"sender": "assistant", "text": "hello"}]},
            HI,
            id="claude_export",
        ),
        pytest.param(EXPORT, HI, id="chatgpt_export"),
        pytest.param(TREE, HI, id="oasst_tree"),
        pytest.param(PERSONA, [*chat("S:i like tea .\ni sing ."), *LONG], id="persona_chat"),
        pytest.param(
            {"turns": [{"speaker": "USER", "utterance": "hi"}, {"speaker": "SYSTEM", "utterance": "hello"}]},
            HI,
            id="tasks",
        ),
        pytest.param(
            {"content": [{"agent": "agent_2", "message": "hi"}, {"agent": "agent_1", "message": "hello"}]},
            HI,
            id="topical_chat",
        ),
        pytest.param({"Prompt": "other", "prompt": "hi", "completion": "hello"}, HI, id="alike_keys"),
        pytest.param({"turn_1": "hi", "turn_2": "hello", "turn_3": "bye", "turn_4": "see you"}, LONG, id="columns"),
        pytest.param({"text": "### Human: hi### Assistant: hello"}, HI, id="guanaco"),
        pytest.param(
            {"text": "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nhello<|im_end|>\n"}, HI, id="chatml"
        ),
        pytest.param({"text": "<s>[INST] <<SYS>>s<</SYS>>\n\nhi [/INST] hello </s>"}, chat("S:s") + HI, id="llama2"),
        pytest.param(
            {"text": "<|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>"
             "<|start_header_id|>assistant<|end_header_id|>\n\nhello<|eot_id|>"},
            HI,
            id="llama3",
        ),
        pytest.param({"text": "<start_of_turn>user\nhi<end_of_turn>\n<start_of_turn>model\nhello"}, HI, id="gemma"),
        pytest.param({"text": "<|user|>\nhi</s>\n<|assistant|>\nhello</s>"}, HI, id="zephyr"),
        pytest.param(
            {"text": "Below is an instruction.\n\n### Instruction:\nhi\n\n### Response:\nhello"},
            chat("S:Below is an instruction.") + HI,
            id="alpaca_prompt",
        ),
        pytest.param({"text": "User: hi\nAssistant: hello: you\n"}, chat("U:hi", "A:hello: you"), id="labels"),
        pytest.param({"dialogue": "User 1: hi\nUser 2: hello\nUser 1: bye\nUser 2: see you"}, LONG, id="two_users"),
        pytest.param({"conversation": "A: hi\nB: hello"}, HI, id="a_and_b"),
        pytest.param({"messages": json.dumps(HI)}, HI, id="json_in_a_text"),
        pytest.param({"messages": repr(HI)}, HI, id="python_in_a_text"),
    ],
)  # fmt: skip
def test_read(tmp_path, record, conversation):
    path = tmp_path / "chats.jsonl"
    path.write_text(f"{json.dumps(record)}\n" * 2)
    assert load_conversation_data(path) == [conversation] * 2


@pytest.mark.parametrize(
    ("value", "conversations"),
    [
        pytest.param({"id1": HI, "id2": LONG}, [HI, LONG], id="dict_of_messages"),
        pytest.param({"t1": {"messages": HI}, "t2": {"messages": LONG}}, [HI, LONG], id="dict_of_records"),
        pytest.param({"1": ["hi", "hello"], "2": ["hi", "hello"]}, [HI, HI], id="dict_of_texts"),
        pytest.param({"conversations": [["hi", "hello"], ["hi", "hello"]]}, [HI, HI], id="chatterbot"),
        pytest.param({"version": 1, "data": [{"messages": HI}, {"messages": LONG}]}, [HI, LONG], id="under_a_key"),
        pytest.param([["hi", "hello"], ["hi", "hello"]], [HI, HI], id="list_of_lists"),
        pytest.param(
            [
                {"conversation_id": 1, "role": "user", "content": "hi"},
                {"conversation_id": 1, "role": "assistant", "content": "hello"},
                {"conversation_id": 2, "role": "user", "content": "hi"},
                {"conversation_id": 2, "role": "assistant", "content": "hello"},
            ],
            [HI, HI],
            id="a_turn_a_row",
        ),
        pytest.param([{"role": "user", "content": "hi"}, {"role": "bot", "content": "hello"}], [HI], id="bare"),
        pytest.param(
            [
                {"message_id": "b", "parent_id": "a", "role": "assistant", "text": "no", "rank": 1},
                {"message_id": "a", "parent_id": None, "role": "prompter", "text": "hi"},
                {"message_id": "c", "parent_id": "a", "role": "assistant", "text": "hello", "rank": 0},
                {"message_id": "d", "parent_id": None, "role": "prompter", "text": "nobody answers"},
            ],
            [HI],
            id="oasst_rows",
        ),
    ],
)
@pytest.mark.parametrize("indent", [None, 1])
def test_many_in_one_value(tmp_path, value, conversations, indent):
    path = tmp_path / "chats.json"
    path.write_text(json.dumps(value, indent=indent))
    assert load_conversation_data(path) == conversations


NO_FORM = (
    "no known form of record: looked for messages, conversations, dialog, prompt/response, question/answer, "
    "instruction/output, text and the like; found keys"
)


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ({"words": ["hello", "world"]}, f'{NO_FORM} "words"'),
        ({"sentence1": "a", "sentence2": "b", "label": 1}, f'{NO_FORM} "sentence1", "sentence2", "label"'),
        ({"translation": {"en": "a", "de": "b"}}, f'{NO_FORM} "translation"'),
        ({"question": "a", "answer": "b", "response": "c"}, "unclear which is the reply: response or answer; keep one"),
        ({"prompt": "a", "instruction": "b", "output": "c"}, "unclear which is the question: instruction or prompt;"),
        ({"train": [{"text": "a"}], "test": [{"text": "b"}]}, 'holds parts under "train", "test": save the one to'),
        (
            {"messages": [{"from": "Anna", "text": "a"}, {"from": "Ben", "text": "b"}]},
            'messages are by people, "Anna",',
        ),
        ({"chosen": "a", "rejected": "b"}, "chosen has no question beside it and marks no speakers"),
        ({"dialogue": "hi\nhello"}, "dialogue does not mark who speaks: looked for lines such as User: and"),
        ({"dialog": "['hi'\n 'hello']"}, "dialog holds a list without commas, as numpy prints it; save the column as"),
        (["user", "hi"], 'a role and a text by themselves; put those of one conversation under "messages"'),
        ({"dialogue": "a", "chat": {"a": 1}, "messages": None}, "dialogue does not mark who speaks"),
    ],
)
def test_refused(tmp_path, record, problem):
    path = tmp_path / "chats.jsonl"
    path.write_text(f"\n{json.dumps(record)}\n")
    with pytest.raises(DataError) as caught:
        load_conversation_data(path)
    assert str(caught.value).startswith(f"{path}:2: {problem}")


def test_what_is_left_out_is_counted(tmp_path):
    path = tmp_path / "chats.jsonl"
    records = [
        TREE,
        EXPORT,
        {"prompt": "hi", "chosen": "hello", "rejected": "no"},
        {"prompt": "hi", "completion": "go away", "label": False},
        {"question": "hi", "answer": "hello", "explanation": "because it is so", "id": 7},
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    summary = ReadSummary(path)
    assert list(iter_conversations(path, summary)) == [HI] * 4
    assert summary.sentences() == [
        f"{path}: 1 skipped, 4 kept: replies marked as bad (the first at line 4)",
        f"{path}: left out: replies that are not on the best line of their tree (2)",
        f"{path}: left out: rejected replies; the chosen ones are read (1)",
        f"{path}: not read, as no part of a conversation or text: explanation",
    ]


def test_without_a_summary_it_is_logged(tmp_path, caplog):
    path = tmp_path / "chats.jsonl"
    path.write_text(json.dumps({"messages": HI}) + "\n" + json.dumps({"messages": HI[:1]}))
    load_conversation_data(path)
    assert caplog.messages == [f"{path}: 1 skipped, 1 kept: no assistant turn (the first at line 2)"]


@pytest.mark.parametrize(
    ("text", "documents"),
    [
        ('["one", "two"]', ["one", "two"]),
        ('["one",\n "two"]', ["one", "two"]),
        ('["hi", "hello"]\n["bye", "see you"]', ["hi\nhello", "bye\nsee you"]),
        ('{"title": "a", "text": "one"}', ["one"]),
        ('{"story": "one"}\n{"story": "two"}', ["one", "two"]),
        ('{"text": "User: hi\\nAssistant: hello"}', ["User: hi\nAssistant: hello"]),
        (json.dumps({"a1": HI, "a2": HI}), ["hi\nhello", "hi\nhello"]),
    ],
)
def test_documents(tmp_path, text, documents):
    path = tmp_path / "documents.json"
    path.write_text(text)
    assert list(iter_documents(path)) == documents
