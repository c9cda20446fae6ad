"""CSV, TSV, Parquet and YAML: their forms, their quoting, and their mistakes."""

import csv
import io
import json
import sys

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tinylm.data import DataError, ReadSummary, iter_conversations, iter_documents, load_conversation_data
from tinylm.data.readers.messages import is_role_pair
from tinylm.data.readers.tables import iter_table_rows
from tinylm.installation import install_command

ROLES = {"S": "system", "U": "user", "A": "assistant"}


def chat(*turns: str) -> list[dict[str, str]]:
    """A conversation from turns such as "U:Hi"."""
    return [{"role": ROLES[turn[0]], "content": turn[2:]} for turn in turns]


HI = chat("U:hi", "A:hello")
BYE = chat("U:bye", "A:see you")
ROWS = "conversation_id,role,text\n1,user,hi\n1,assistant,hello\n2,user,bye\n2,assistant,see you\n"


@pytest.mark.parametrize(
    ("name", "text", "conversations"),
    [
        pytest.param("a.csv", "prompt,response\nhi,hello\nbye,see you\n", [HI, BYE], id="pairs"),
        pytest.param("a.CSV", "id,Question,Answer\n1,hi,hello\n", [HI], id="more_columns"),
        pytest.param("a.csv", "question;answer\nhi;hello\n", [HI], id="semicolons"),
        pytest.param("a.csv", "sep=;\nquestion;answer\nhi;hello\n", [HI], id="excel"),
        pytest.param("a.tsv", "question\tanswer\nhi\thello\n", [HI], id="tabs"),
        pytest.param(
            "a.tsv", 'question\tanswer\n"hi\thello\n', [chat('U:"hi', "A:hello")], id="tabs_with_a_stray_mark"
        ),
        pytest.param("a.tsv", 'question\tanswer\n"hi\nyou"\thello\n', [chat("U:hi\nyou", "A:hello")], id="quoted_tabs"),
        pytest.param("a", "question,answer\nhi,hello\n", [HI], id="no_ending"),
        pytest.param("a.csv", "\ufeffquestion,answer\r\nhi,hello\r\n", [HI], id="windows"),
        pytest.param("a.csv", "question,answer\rhi,hello\r", [HI], id="old_mac"),
        pytest.param(
            "a.csv", 'question,answer\n"say ""hi"", you","a\r\nb\n\nc"\n', [chat('U:say "hi", you', "A:a\nb\n\nc")],
            id="quoting",
        ),
        pytest.param(
            "a.csv", "question,answer\na\u0085b\u2028c,d\x0be\n", [chat("U:a\u0085b\u2028c", "A:d\x0be")], id="no_lines"
        ),
        pytest.param("a.csv", f"question,answer\n{'x' * 200_000},y\n", [chat("U:" + "x" * 200_000, "A:y")], id="long"),
        pytest.param("a.csv", "question,answer,\nhi,hello,,,\n\n,,\n", [HI], id="empty_cells_and_rows"),
        pytest.param("a.csv", ROWS, [HI, BYE], id="a_turn_a_row"),
        pytest.param("a.csv", "Chat,Who,Message\n1,Human,hi\n1,Bot,hello\n2,Human,bye\n2,Bot,see you\n", [HI, BYE],
                     id="other_names"),
        pytest.param("a.csv", "id,role,content\n7,user,hi\n7,bot,hello\n", [HI], id="id_of_conversations"),
        pytest.param("a.csv", "id,role,content\n7,bot,hi\n8,user,hi\n8,bot,hello\n", [chat("A:hi"), HI], id="late_id"),
        pytest.param("a.csv", "id,role,content\n7,user,hi\n8,bot,hello\n", [HI], id="id_of_rows"),
        pytest.param(
            "a.csv", "dialogue_id,turn,speaker,utterance\n1,2,B,hello\n1,1,A,hi\n", [HI], id="turns_out_of_order"
        ),
        pytest.param(
            "a.csv", 'user 1 personas,Best Generated Conversation\n"I am. I do","User 1: hi\nUser 2: hello"\n', [HI],
            id="dialogue_in_a_cell",
        ),
        pytest.param("a.csv", 'dialog\n"[""hi"", ""hello""]"\n', [HI], id="list_in_a_cell"),
        pytest.param("a.csv", 'text\n"<user> hi\n<assistant> hello"\n', [HI], id="tags_in_a_cell"),
        pytest.param("a.csv", "Answer.sentence1,Answer.sentence2,Answer.sentence3\nhi,hello,\n", [HI], id="columns"),
        pytest.param("a.yml", "categories:\n- c\nconversations:\n- - hi\n  - hello\n- - bye\n  - see you\n", [HI, BYE],
                     id="chatterbot"),
        pytest.param("a.yaml", "- - 'Yes'\n  - No\n- - 1\n  - 2020-01-01\n",
                     [chat("U:Yes", "A:No"), chat("U:1", "A:2020-01-01")], id="scalars_are_text"),
        pytest.param("a.yml", "- - a\u2028b\u0085c\n  - d\n", [chat("U:a\u2028b\u0085c", "A:d")], id="yaml_line"),
        pytest.param("a.yml", "- role: user\n  content: hi\n- role: bot\n  content: hello\n", [HI], id="messages"),
        pytest.param("a.yml", "- messages:\n  - {role: user, content: hi}\n  - {role: bot, content: hello}\n", [HI],
                     id="records"),
        pytest.param("a.yml", "conversations:\n- from: human\n  value: hi\n- from: gpt\n  value: hello\n", [HI],
                     id="sharegpt_yaml"),
        pytest.param("a.yml", "question: hi\nanswer: |\n  hello\n---\nquestion: bye\nanswer: see you\n", [HI, BYE],
                     id="several_yaml_documents"),
    ],
)  # fmt: skip
def test_conversations(tmp_path, name, text, conversations):
    path = tmp_path / name
    path.write_bytes(text.encode())
    assert load_conversation_data(path) == conversations


@pytest.mark.parametrize(
    ("name", "text", "documents"),
    [
        ("a.csv", "id,text\n1,one\n2,two\n", ["one", "two"]),
        ("a.csv", 'story\n"one, and\n\nmore"\ntwo\n', ["one, and\n\nmore", "two"]),
        ("a.csv", "Once upon a time there was.\nThe end.\n", ["Once upon a time there was.", "The end."]),
        ("a.csv", "question,answer\nhi,hello\n", ["hi\nhello"]),
        ("a.csv", ROWS, ["hi\nhello", "bye\nsee you"]),
        ("a.tsv", 'text\n"one\n', ['"one']),
        ("a.yml", "- one\n- two\n", ["one", "two"]),
        ("a.yml", "- text: one\n- text: two\n", ["one", "two"]),
        ("a.yml", "- - hi\n  - hello\n", ["hi\nhello"]),
    ],
)
def test_documents(tmp_path, name, text, documents):
    path = tmp_path / name
    path.write_bytes(text.encode())
    assert list(iter_documents(path)) == documents


@pytest.mark.parametrize(
    ("name", "text", "line", "problem"),
    [
        ("a.csv", 'question,answer\nhi,hello\n"bye,see you\n', 3, "a quotation mark is never closed; is the file cut"),
        ("a.csv", 'question,answer\n"a"b,c\n', 2, "broken quoting (',' expected after '\"'); write a quotation mark"),
        ("a.csv", 'question,answer\n"a\nb"\nhi\n', 2, "1 cells where the first line has 2 columns; put quotation"),
        ("a.csv", "question,answer\nhi,hello,you\n", 2, "3 cells where the first line has 2 columns; put quotation"),
        ("a.csv", "a,b\nhi,hello\n", 1, "the first line is taken for the columns' names, and none of them is known:"),
        ("a.csv", "answer,answer\nhi,hello\n", 1, 'two columns are named "answer"; rename one'),
        ("a.csv", ROWS + "1,user,again\n", 6, 'rows of conversation_id "1" are not together: sort the file by'),
        ("a.csv", "conversation_id,role,text\n1,Anna,hi\n1,Ben,hello\n", 2, 'role "Anna" is not read, only system,'),
        ("a.yml", "- a\n- [b\n", 2, "broken YAML ("),
        ("a.yml", "a: &a [*a]\n", 1, "broken YAML (found unconstructable recursive node); mend it"),
        ("a.yml", "a: !!python/object/apply:os.getcwd []\n", 1, 'no known form of record'),
        ("a.yml", "- hi\n- hel\x01lo\n", 2, "YAML allows no such character; take it out"),
    ],
)  # fmt: skip
def test_mistakes(tmp_path, name, text, line, problem):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        load_conversation_data(path)
    assert str(caught.value).startswith(f"{path}:{line}: {problem}")


def test_how_a_lone_column_was_understood_is_said(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("tale\none\n")
    summary = ReadSummary(path)
    assert list(iter_documents(path, summary)) == ["one"]
    assert summary.sentences() == [f'{path}: its one column is "tale": every row is a text']


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=1).map(str.strip)
PAIRS = st.lists(st.tuples(CELLS.filter(bool), CELLS.filter(bool)), min_size=1, max_size=5)
unhurried = settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])


@unhurried
@given(PAIRS, st.sampled_from([",", ";", "\t", "|"]), st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]))
def test_csv_round_trip(tmp_path, pairs, delimiter, quoting):
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, quoting=quoting).writerows([("prompt", "response"), *pairs])
    path = tmp_path / "a.csv"
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    assert load_conversation_data(path) == [chat(f"U:{asked}", f"A:{replied}") for asked, replied in pairs]


@unhurried
@given(st.lists(PAIRS, min_size=1, max_size=4))
def test_yaml_round_trip(tmp_path, dialogues):
    path = tmp_path / "a.yml"
    texts = [[text for pair in pairs for text in pair] for pairs in dialogues]
    # A role's name and a text are no dialogue
    assume(not any(is_role_pair(dialogue) for dialogue in texts))
    path.write_text(yaml.safe_dump({"conversations": texts}, allow_unicode=False), encoding="utf-8")
    assert load_conversation_data(path) == [
        [{"role": "assistant" if index % 2 else "user", "content": text} for index, text in enumerate(dialogue)]
        for dialogue in texts
    ]


@pytest.mark.parametrize(
    ("rows", "conversations"),
    [
        ([{"prompt": "hi", "response": "hello"}, {"prompt": "bye", "response": "see you"}], [HI, BYE]),
        ([{"messages": HI, "source": "web"}, {"messages": BYE, "source": None}], [HI, BYE]),
        ([{"dialog": ["hi", "hello"]}], [HI]),
        ([{"conversation_id": 1, **message} for message in HI], [HI]),
    ],
)
def test_parquet(tmp_path, rows, conversations):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=1)
    assert load_conversation_data(path) == conversations
    assert len(list(iter_documents(path))) == len(conversations)
    nameless = path.rename(tmp_path / "a")
    assert load_conversation_data(nameless) == conversations


def test_parquet_mistakes(tmp_path):
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "a.parquet"
    rows = [{"prompt": "hi", "response": "hello"}, {"prompt": "hi", "response": ""}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    summary = ReadSummary(path)
    assert list(iter_conversations(path, summary)) == [HI]
    assert summary.container == "Parquet"
    assert summary.sentences() == [f"{path}: 1 skipped, 1 kept: an empty assistant turn (the first at line 2)"]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"broken Parquet \(.*\); write it anew$"):
        load_conversation_data(path)


def test_parquet_with_values_that_python_has_not(tmp_path):
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "a.parquet"
    broken = pyarrow.array([b"one", b"caf\xe9"], pyarrow.binary()).view(pyarrow.string())
    pyarrow.parquet.write_table(pyarrow.table({"text": broken}), path)
    with pytest.raises(
        DataError, match=r"a\.parquet:1: a text in or after this row is not UTF-8; write the file anew$"
    ):
        list(iter_documents(path))
    far = pyarrow.array([2**62], pyarrow.timestamp("us"))
    pyarrow.parquet.write_table(pyarrow.table({"text": ["one"], "date": far}), path)
    with pytest.raises(DataError, match=r"a\.parquet:1: a value in or after this row cannot be read"):
        list(iter_documents(path))


@pytest.mark.parametrize(
    ("name", "modules", "extra"),
    [
        ("a.parquet", ["pyarrow"], "parquet"),
        ("a.yml", ["yaml"], "yaml"),
        ("a.jsonl.zst", ["compression.zstd", "backports.zstd"], "zstd"),
    ],
)
def test_a_missing_package_is_named(tmp_path, monkeypatch, name, modules, extra):
    path = tmp_path / name
    path.write_bytes({"parquet": b"PAR1", "yaml": b"- a", "zstd": b"\x28\xb5\x2f\xfd"}[extra])
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DataError) as caught:
        load_conversation_data(path)
    assert str(caught.value) == f"{path}: to read it, install what it needs: {install_command(extra)}"


def test_rows_of_a_large_table_are_not_held(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("prompt,response\n" + "hi,hello\n" * 3 + '"never closed\n')
    conversations = iter_conversations(path)
    assert [next(conversations) for _ in range(3)] == [HI] * 3
    with pytest.raises(DataError):
        next(conversations)


def test_json_in_other_columns_stays_unread(tmp_path):
    path = tmp_path / "a.csv"
    text = io.StringIO()
    csv.writer(text).writerows([("prompt", "response", "scores"), ("hi", "hello", json.dumps([1, 2, 3, 4, 5]))])
    path.write_text(text.getvalue())
    summary = ReadSummary(path)
    assert list(iter_conversations(path, summary)) == [HI]
    assert summary.sentences() == [f"{path}: not read, as no part of a conversation or text: scores"]


def test_the_limit_of_the_csv_module_is_changed_for_nobody_else(tmp_path):
    path = tmp_path / "long.csv"
    path.write_text("prompt,response\nHi,Hello\n" + "word " * 40_000 + ",yes\nAnd?,So\n")
    before = csv.field_size_limit()
    rows = iter_table_rows(path, False, ReadSummary(path))
    for _ in range(2):  # also while a file is being read
        next(rows)
        assert csv.field_size_limit() == before
    rows.close()
    other = iter_table_rows(path, False, ReadSummary(path))
    assert [len(row["prompt"]) for _, row in other] == [2, 200_000, 4]
    assert csv.field_size_limit() == before
    with pytest.raises(csv.Error, match="field larger"):
        list(csv.reader(["x" * 200_000]))


def test_a_first_line_longer_than_the_limit_of_the_csv_module(tmp_path):
    path = tmp_path / "long.csv"
    path.write_text("word " * 40_000 + "\nmore text\n")
    assert len(list(iter_documents(path))) == 2
