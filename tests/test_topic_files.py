"""The world's text files: what they hold, and what is said of a mistake in one."""

import pytest

from tinylm.data.world.intents import TOPIC_NAMES
from tinylm.data.world.topic_files import TOPICS, TopicLine, read_blocks
from tinylm.errors import DataError

SECTIONS = ("questions", "replies", "cases")
GOOD = """
# A comment.
[colour]
questions:
    what colour is {s}

    [what|which] colour has {s}
replies: It is {C}.
questions:
    # Also one.
    and now
cases:
    case | s        | c
    door | the door | green
    cat  | the cat  |

[other]
replies:
    Yes.
"""


def read(folder, text, **options):
    path = folder / "a.txt"
    path.write_text(text, "utf-8")
    return read_blocks(path, SECTIONS, **options)


def test_blocks(tmp_path):
    colour, other = read(tmp_path, GOOD, required=("replies",))
    assert (colour.name, colour.line, other.name, other.line) == ("colour", 3, "other", 17)
    assert colour.entries("questions", "replies") == [
        ("questions", TopicLine(5, "what colour is {s}")),
        ("questions", TopicLine(7, "[what|which] colour has {s}")),
        ("replies", TopicLine(8, "It is {C}.")),
        ("questions", TopicLine(11, "and now")),
    ]
    assert colour.texts("questions") == ("what colour is {s}", "[what|which] colour has {s}", "and now")
    assert colour.only("replies") == "It is {C}."
    assert colour.table("cases") == {"door": {"s": "the door", "c": "green"}, "cat": {"s": "the cat", "c": ""}}
    assert other.texts("questions") == ()
    assert other.table("cases") == {}
    colour.check_fields(["s", "c"])


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("questions:\n", 1, "a section belongs to a block: put `[name]` before it"),
        ("[a]\n    what\n", 2, "an indented line belongs to a section, such as `questions:`, before it"),
        ("    what\n", 1, "an indented line belongs to a section, such as `questions:`, before it"),
        ("[a]\nquestion:\n", 2, "no section is called `question:`; known are questions, replies, cases"),
        ("[a]\nquestions:\nwhat is it\n", 3, "neither `[name]` nor `section:`; indent the lines of a section"),
        ("[A b]\n", 1, "neither `[name]` nor `section:`; indent the lines of a section"),
        ("[a]\nquestions:\n    [what|which is it\n", 3, "a bracket is missing"),
        ("[a]\nreplies:\n    It is {c.\n", 3, "a bracket is missing"),
        ("[a]\nreplies: x\n[a]\nreplies: x\n", 3, "a second block [a]; give it another name"),
        ("[a]\nquestions: x\n", 1, "[a] has no `replies:`"),
        ("[a]\nreplies:\n", 1, "[a] has no `replies:`"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path, text, line, problem):
    with pytest.raises(DataError) as error:
        read(tmp_path, text, required=("replies",))
    assert (error.value.line, error.value.problem) == (line, problem)
    assert str(error.value).startswith(f"{tmp_path / 'a.txt'}:{line}: ")


@pytest.mark.parametrize(
    ("cases", "line", "problem"),
    [
        ("case | s\n    a | b | c", 3, "has 3 cells; the heading of its table has 2"),
        ("case | s\n    a | b\n    a | c", 4, "a second row called 'a'; give it another name"),
    ],
)
def test_mistakes_in_tables(tmp_path, cases, line, problem):
    (block,) = read(tmp_path, f"[a]\ncases: {cases}\n")
    with pytest.raises(DataError) as error:
        block.table("cases")
    assert (error.value.line, error.value.problem) == (line, problem)


def test_unknown_fields_and_missing_lines(tmp_path):
    block, _ = read(tmp_path, GOOD)
    with pytest.raises(DataError, match=r"a\.txt:8: \{C\} is not known here; known are \{me\}, \{s\}"):
        block.check_fields(["me", "s"])
    with pytest.raises(DataError, match=r"a\.txt:3: \[colour\] needs one line of `questions:` and has 3"):
        block.only("questions")


def test_every_file_is_a_topic():
    assert {path.name for path in TOPICS.iterdir()} == {
        "README.md",
        "told_facts.txt",
        *(f"{name}.txt" for name in TOPIC_NAMES),
    }
