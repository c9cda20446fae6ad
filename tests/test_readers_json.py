"""JSON and JSON Lines: every form of record, and every way to get one wrong."""

import json

import pytest

from tinylm.data import DataError, ReadSummary, iter_conversations, iter_documents, load_conversation_data
from tinylm.data.readers.json_values import iter_json_records

ROLES = {"S": "system", "U": "user", "A": "assistant"}


def chat(*turns: str) -> list[dict[str, str]]:
    """A conversation from turns such as "U:Hi"."""
    return [{"role": ROLES[turn[0]], "content": turn[2:]} for turn in turns]


def spec(*turns: str) -> dict[str, object]:
    """A record of the specification's form."""
    return {"id": 1, "conversation": [{"role": ROLES[turn[0]], "text": turn[2:]} for turn in turns]}


HI = chat("U:hi", "A:hello")
BYE = chat("U:bye", "A:see you")
SHAREGPT = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]


@pytest.mark.parametrize(
    ("record", "conversation"),
    [
        pytest.param({"messages": HI}, HI, id="openai"),
        pytest.param({"messages": HI, "tools": [], "text": "other", "conversations": None}, HI, id="openai_and_more"),
        pytest.param({"messages": chat("A:hello", "U:hi", "S:s")}, chat("A:hello", "U:hi", "S:s"), id="any_order"),
        pytest.param(
            {"messages": chat("S: ", "U: a\n b\t", "U:c", "A:d\r\ne")}, chat("U:a\n b\nc", "A:d\r\ne"), id="strip"
        ),
        pytest.param(
            {"messages": chat("U:a", "S:", "U:b", "A:c")}, chat("U:a\nb", "A:c"), id="merged_over_empty_system"
        ),
        pytest.param(
            {"messages": chat("U:<bos> a <eos>", "A:<user>")}, chat("U:<bos> a <eos>", "A:<user>"), id="marks_stay"
        ),
        pytest.param(
            {
                "messages": [
                    {"role": role, "content": role} for role in ("Developer", "HUMAN", " bot ", "user", "Model")
                ]
            },
            chat("S:Developer", "U:HUMAN", "A:bot", "U:user", "A:Model"),
            id="role_synonyms",
        ),
        pytest.param(
            {
                "messages": [
                    {"role": "assistant", "content": "a", "tool_calls": None, "function_call": None, "weight": 1}
                ]
            },
            chat("A:a"),
            id="empty_tool_calls",
        ),
        pytest.param(
            {
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "value": " b"}]},
                    {"role": "assistant", "content": [{"type": "text", "value": "c"}], "loss_weight": 1.0},
                ]
            },
            chat("U:a b", "A:c"),
            id="typed_parts",
        ),
        pytest.param(HI, HI, id="bare"),
        pytest.param(SHAREGPT, HI, id="bare_sharegpt"),
        pytest.param({"conversations": SHAREGPT}, HI, id="sharegpt"),
        pytest.param({"conversations": SHAREGPT, "system": "s"}, chat("S:s") + HI, id="sharegpt_system"),
        pytest.param({"conversations": SHAREGPT, "system": ""}, HI, id="sharegpt_empty_system"),
        pytest.param(
            {"conversations": [{"from": who, "value": who} for who in ("system", "user", "chatgpt", "human", "bot")]},
            chat("S:system", "U:user", "A:chatgpt", "U:human", "A:bot"),
            id="sharegpt_synonyms",
        ),
        pytest.param({"instruction": "hi", "input": "", "output": "hello"}, HI, id="alpaca"),
        pytest.param({"instruction": "hi", "output": "hello"}, HI, id="alpaca_without_input"),
        pytest.param({"instruction": "", "input": "hi", "output": "hello"}, HI, id="alpaca_only_input"),
        pytest.param({"instruction": "a ", "input": " b", "output": "c"}, chat("U:a\n\nb", "A:c"), id="alpaca_input"),
        pytest.param(
            {"instruction": "c", "input": None, "output": "d", "system": "s", "history": [["a", "b"]]},
            chat("S:s", "U:a", "A:b", "U:c", "A:d"),
            id="alpaca_history",
        ),
        pytest.param({"instruction": "hi", "output": "hello", "history": None}, HI, id="alpaca_no_history"),
        pytest.param(spec("U:hi", "A:hello"), HI, id="spec"),
        pytest.param(spec("U:<bos> hi <eos>", "A: <bos>hello<eos>\n"), HI, id="spec_marks"),
        pytest.param(
            spec("U:<bos> <bos> a <eos> <eos>", "A:<bos> b", "U:c <eos>", "A:d <bos> e <eos>"),
            chat("U:<bos> a <eos>", "A:<bos> b", "U:c <eos>", "A:d <bos> e <eos>"),
            id="spec_one_outer_pair",
        ),
        pytest.param(
            {"conversation": [{"role": "user", "text": "hi"}, {"role": "bot", "text": "hello"}]}, HI, id="spec_bot"
        ),
        pytest.param(
            {"messages": chat("U:\u0085a\u2028b\x0bc\U0001f916", "A:" + "x" * 100_000)},
            chat("U:a\u2028b\x0bc\U0001f916", "A:" + "x" * 100_000),
            id="text",
        ),
    ],
)
@pytest.mark.parametrize("layout", ["line", "list", "pretty", "pretty_list", "lines", "no_brackets", "not_ascii"])
def test_forms(tmp_path, record, conversation, layout):
    text = {
        "line": json.dumps(record),
        "list": json.dumps([record]),
        "pretty": json.dumps(record, indent=2),
        "pretty_list": json.dumps([record, record], indent=1),
        "lines": f"\n{json.dumps(record)}\n\n{json.dumps(record)}\n",
        "no_brackets": json.dumps(record, indent=1) + ",\n" + json.dumps(record) + " , ",
        "not_ascii": json.dumps(record, ensure_ascii=False),
    }[layout]
    path = tmp_path / "chats.json"
    path.write_text(text, encoding="utf-8")
    count = 2 if layout in ("pretty_list", "lines", "no_brackets") else 1
    assert load_conversation_data(path) == [conversation] * count
    if "text" not in record:
        document = "\n".join(message["content"] for message in conversation)
        assert list(iter_documents(path)) == [document] * count


A = '{"messages": [{"role": "bot", "content": "a"}]}'
B = '{"conversations": [{"from": "gpt", "value": "b"}]}'
C = '{\n"instruction": "c",\n"output": "c"\n}'


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (A, [1]),
        (f"{A}\n\n{B}\n", [1, 3]),
        (f"{A},\n{B},\n", [1, 2]),
        (f"{A}\n,\n{B}", [1, 3]),
        (f"{A}\n{C}\n{B}\n", [1, 2, 6]),
        (f"{A}{B} {C}{A}", [1, 1, 1, 4]),
        (f"[{A}, {B}]", [1, 1]),
        (f"[{A}, {B},]", [1, 1]),
        (f"\n\n[\n{A},\n{C},\n\n{B}\n]\n", [4, 5, 10]),
        (f"[\n{A},\n]", [2]),
        (f"{C},\n{C},", [1, 5]),
        (f"{C}\n{C}", [1, 5]),
        (f"[{A}]\n[{B}]", [1, 2]),
        (f"[\n{A}\n]\n[\n{B}\n]", [2, 5]),
        ('[{"role": "bot", "content": "a"}]\n[{"role": "bot", "content": "b"}]', [1, 2]),
        ('[\n{"role": "bot", "content": "a"},\n{"role": "bot", "content": "b"}\n]', [1]),
        ('[\n[{"role": "bot", "content": "a"}],\n[{"role": "bot", "content": "b"}]\n]', [2, 3]),
        (f"\ufeff{A}\r\n{B}\r{C}", [1, 2, 3]),
    ],
)
def test_places(tmp_path, text, lines):
    path = tmp_path / "chats.json"
    path.write_bytes(text.encode())
    assert [place.line for place, _ in iter_json_records(path)] == lines
    assert len(load_conversation_data(path)) == len(lines)


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        pytest.param(f"{C[:-1]}\n{A}", 1, "broken JSON (this { is never closed); mend it", id="cut_record"),
        pytest.param(f"{B[:-1]}\n{A}", 1, "broken JSON (this { is never closed); mend it", id="cut_first_record"),
        pytest.param(f"{A}\n{A[:-2]}", 2, "broken JSON (Expecting ',' delimiter at column 46); mend it", id="cut_end"),
        pytest.param(
            f"{A}\n{A[:-4]}\n\n",
            2,
            "broken JSON (Unterminated string starting at column 42); mend it",
            id="cut_in_string",
        ),
        pytest.param(f"{A}\nhello", 2, "broken JSON (Expecting value at column 1); mend it", id="no_json"),
        pytest.param(
            f"{A}\n{{'a': 1}}",
            2,
            "broken JSON (Expecting property name enclosed in double quotes at column 2); mend it",
            id="quotes",
        ),
        pytest.param(
            '{"text": "a\nb"}',
            1,
            "broken JSON (Invalid control character at column 12); mend it",
            id="line_end_in_string",
        ),
        pytest.param(
            f'[\n{A},\n{{"a":\n x}}\n]', 4, "broken JSON (Expecting value at column 2); mend it", id="in_list"
        ),
        pytest.param(f"[\n{A}\n{B}\n]", 3, "broken JSON (a comma is missing before this value); mend it", id="comma"),
        pytest.param(f"[\n{A},\n{B}", 1, "this list is never closed; is the file cut short?", id="open_list"),
        pytest.param(f"{A}\n]", 2, "broken JSON (Expecting value at column 1); mend it", id="not_opened"),
        pytest.param(f"{A}\n{A},,{A}", 2, "broken JSON (Expecting value at column 49); mend it", id="two_commas"),
        pytest.param(f"{A}\n" + "[" * 100_000, 2, "this JSON value is nested too deeply; take it out", id="deep"),
        pytest.param(
            f"{A}\n[\n" + '{"a":' * 100_000, 3, "this JSON value is nested too deeply; take it out", id="deep_in"
        ),
        pytest.param(
            f'{A}\n{{"id": {"1" * 5000}}}',
            2,
            "this JSON value holds a number of too many digits; shorten it",
            id="huge_number",
        ),
        pytest.param("hello", 1, "is not JSON, which begins with { or [; name a text file .txt", id="text"),
        pytest.param("\n12", 2, "is not JSON, which begins with { or [; name a text file .txt", id="number"),
    ],
)
@pytest.mark.parametrize("read", [load_conversation_data, lambda path: list(iter_documents(path))])
def test_broken_json(tmp_path, read, text, line, problem):
    path = tmp_path / "chats.jsonl"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(caught.value) == f"{path}:{line}: {problem}"
    assert (caught.value.path, caught.value.line) == (str(path), line)


LOOKED_FOR = (
    "no known form of record: looked for messages, conversations, dialog, prompt/response, question/answer, "
    "instruction/output, text and the like; found keys"
)
NOT_READ = "is not read, only system, user and assistant: rename the role or take the record out"
TEXTS = "content, value, text, message, utterance, body, sentence"
TOOLS = "tools, which a model here cannot call"
HALF = "half a surrogate pair"


def bot(content: object, **more: object) -> dict[str, object]:
    return {"messages": [{"role": "bot", "content": content, **more}]}


@pytest.mark.parametrize(
    ("record", "problem", "reason"),
    [
        (
            {"messages": []},
            "conversation without an assistant turn: nothing to learn; add one or drop it",
            "no assistant turn",
        ),
        (
            {"messages": chat("U:hi")},
            "conversation without an assistant turn: nothing to learn; add one or drop it",
            "no assistant turn",
        ),
        ({"messages": chat("U:\n", "A:hi")}, "empty user turn; write its text or take it out", "an empty user turn"),
        (
            {"messages": chat("U:hi", "A:")},
            "empty assistant turn; write its text or take it out",
            "an empty assistant turn",
        ),
        (spec("U:<bos> <eos>", "A:hi"), "empty user turn; write its text or take it out", "an empty user turn"),
        (
            {"instruction": " ", "input": "", "output": "a"},
            "empty user turn; write its text or take it out",
            "an empty user turn",
        ),
        (
            {"instruction": "a", "output": ""},
            "empty assistant turn; write its text or take it out",
            "an empty assistant turn",
        ),
        (
            {"messages": [{"role": "tool", "content": "a"}]},
            'role "tool": tools are not read, so take the record out',
            TOOLS,
        ),
        (
            {"conversations": [{"from": "function_call", "value": "a"}]},
            'role "function_call": tools are not read, so take the record out',
            TOOLS,
        ),
        (
            {"conversations": [{"from": "observation", "value": "a"}]},
            'role "observation": tools are not read, so take the record out',
            TOOLS,
        ),
        (bot("a", tool_calls=[{}]), "a message has tool_calls; tools are not read, so take the record out", TOOLS),
        (
            bot(None, function_call={"a": 1}),
            "a message has function_call; tools are not read, so take the record out",
            TOOLS,
        ),
        (
            bot([{"type": "image_url", "image_url": {}}]),
            'the assistant turn has a part of type "image_url"; only text is read, so take the record out',
            "parts that are no text",
        ),
        (
            bot([{"text": "a"}]),
            "the assistant turn has a part of type null; only text is read, so take the record out",
            "parts that are no text",
        ),
        (bot([]), "empty assistant turn; write its text or take it out", "an empty assistant turn"),
    ],
)
@pytest.mark.parametrize("read", [iter_conversations, iter_documents])
def test_records_that_are_left_out_and_counted(tmp_path, read, record, problem, reason):
    path = tmp_path / "chats.jsonl"
    path.write_text(f"{A}\n\n[{json.dumps(record)}]\n{A}\n")
    summary = ReadSummary(path)
    assert len(list(read(path, summary))) == 2
    assert summary.skipped == {reason: 1}
    assert summary.sentences() == [f"{path}: 1 skipped, 2 kept: {reason} (the first at line 3)"]
    path.write_text(f"\n[{json.dumps(record)}]")
    with pytest.raises(DataError) as caught:
        list(read(path))
    assert str(caught.value) == f"{path}:2: {problem}"


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ({}, f"{LOOKED_FOR} none"),
        ({"t": None, "a\nb\ud800": 1}, f'{LOOKED_FOR} "t", "a\\nb\\ud800"'),
        ({str(i): i for i in range(9)}, f'{LOOKED_FOR} "0", "1", "2", "3", "4", "5", "6", "7", ...'),
        ({"x" * 50: 1}, f'{LOOKED_FOR} "{"x" * 40}..."'),
        (1.5, "expected an object with a conversation or a text, found a number"),
        (None, "expected an object with a conversation or a text, found null"),
        (True, "expected an object with a conversation or a text, found true or false"),
        (
            {"messages": "hi"},
            "messages does not mark who speaks: looked for lines such as User: and Assistant:, or a JSON list",
        ),
        ({"conversations": {}}, "conversations must be a list of messages, found an object"),
        ({"conversation": [["hi"]]}, "a message must be an object with a role, found a list"),
        ({"instruction": "a", "output": 1}, "output must be a text, found a number"),
        ({"instruction": 1, "output": "a"}, "instruction must be a text, found a number"),
        ({"instruction": "a", "output": "a", "history": "a"}, "history must be a list of pairs, found a text"),
        (
            {"instruction": "a", "output": "a", "history": ["a"]},
            'history must hold pairs of question and answer, found "a"',
        ),
        (
            {"instruction": "a", "output": "a", "history": [["a"]]},
            "history must hold pairs of question and answer, found a list",
        ),
        ({"conversations": SHAREGPT, "system": 1}, "system must be a text, found a number"),
        (
            {"messages": [{"content": "a"}]},
            'a message has no role: looked for role, from, speaker, sender, author; found keys "content"',
        ),
        ({"messages": [{"role": "u\u017fer", "content": "a"}]}, f'role "u\\u017fer" {NOT_READ}'),
        ({"messages": [{"role": True, "content": "a"}]}, "a role must be a text, found true or false"),
        (
            {"messages": [{"role": "bot", "said": "a"}]},
            f'a message has no text: looked for {TEXTS}; found keys "role", "said"',
        ),
        (bot({"a": 1}), "the assistant turn must be a text, found an object"),
        (bot([{"type": "text"}]), "a text part of the assistant turn has no text"),
        (bot([1]), "a part of the assistant turn must be a text or an object with a type, found a number"),
        (bot("a\ud800"), f"the assistant turn holds {HALF} (\\ud800), which is no character; take it out"),
        (
            bot([{"type": "text", "text": "\udc00"}]),
            f"the assistant turn holds {HALF} (\\udc00), which is no character; take it out",
        ),
        (
            {"instruction": "\udfff", "output": "a"},
            f"instruction holds {HALF} (\\udfff), which is no character; take it out",
        ),
    ],
)
@pytest.mark.parametrize("read", [iter_conversations, iter_documents])
def test_odd_records(tmp_path, read, record, problem):
    """One among others is left out and counted, alone it is refused."""
    path = tmp_path / "chats.jsonl"
    path.write_text(f"{A}\n\n[{json.dumps(record)}]\n{A}\n")
    summary = ReadSummary(path)
    assert len(list(read(path, summary))) == 2
    assert summary.skipped == {"not understood": 1}
    assert summary.sentences()[0] == f"{path}: 1 skipped, 2 kept: not understood (the first at line 3: {problem})"
    path.write_text(f"\n\n[{json.dumps(record)}]")
    with pytest.raises(DataError) as caught:
        list(read(path))
    assert str(caught.value) == f"{path}:3: {problem}"
    assert (caught.value.path, caught.value.line) == (str(path), 3)


def test_record_of_a_line_is_named(tmp_path):
    path = tmp_path / "chats.json"
    path.write_text(f"[{A}, {{}}, {{}}]")
    problem = r"found keys none; 2 of 3 are not understood \(record 2 of this line\)$"
    with pytest.raises(DataError, match=problem) as caught:
        load_conversation_data(path)
    assert caught.value.line == 1
