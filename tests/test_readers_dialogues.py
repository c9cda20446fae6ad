"""Text files that are dialogues without our tags: separators, templates, labels; and people, who must be told apart."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinylm.data import DataError, ReadSummary, iter_conversations, load_conversation_data

ROLES = {"S": "system", "U": "user", "A": "assistant"}


def chat(*turns: str) -> list[dict[str, str]]:
    """A conversation from turns such as "U:Hi"."""
    return [{"role": ROLES[turn[0]], "content": turn[2:]} for turn in turns]


HI = chat("U:hi", "A:hello")
BYE = chat("U:bye", "A:see you")
THREE = chat("U:hi", "A:hello", "U:bye")


@pytest.mark.parametrize(
    ("text", "conversations"),
    [
        pytest.param("hi\thello\nbye\tsee you\n", [HI, BYE], id="tab"),
        pytest.param("hi ||| hello\nbye|||see you\n", [HI, BYE], id="bars"),
        pytest.param("hi || hello\n\nbye || see you || \n", [HI, BYE], id="two_bars"),
        pytest.param("hi __eou__ hello __eou__ bye __eou__\nhi __eou__ hello __eou__", [THREE, HI], id="dailydialog"),
        pytest.param(
            "hi __eou__ you __eou__ __eot__ hello __eou__\n" * 2, [chat("U:hi \n you", "A:hello")] * 2, id="ubuntu"
        ),
        pytest.param("<s>hi</s>hello</s>\nbye </s> see you\n", [HI, BYE], id="sentence_ends"),
        pytest.param("hi [SEP] hello\nbye [SEP] see you\n", [HI, BYE], id="sep"),
        pytest.param("hi <eou> hello\nbye <eou> see you\n", [HI, BYE], id="eou"),
        pytest.param("hi\u2028you\thello\u0085\n", [chat("U:hi\u2028you", "A:hello")], id="not_line_ends"),
        pytest.param(
            "1 your persona: i sing .\n2 hi\thello\t\tno|hello\n3 bye\tsee you\n1 hi\thello\n",
            [chat("S:i sing .") + HI + BYE, HI],
            id="parlai",
        ),
        pytest.param("User: hi\nAssistant: hello\n\nUser: bye\nAssistant: see you\n", [HI, BYE], id="labels"),
        pytest.param("User: hi\nAssistant: hello\nUser: bye\nAssistant: see you\n", [HI + BYE], id="labels_no_gap"),
        pytest.param("Human: hi\nAI: a\n\nb: c\n", [chat("U:hi", "A:a\n\nb: c")], id="labels_over_lines"),
        pytest.param("**User:** hi\n**Bot:** hello\n", [HI], id="bold_labels"),
        pytest.param("Q: hi\nA: hello\nQ: bye\nA: see you\n", [HI, BYE], id="questions"),
        pytest.param("Person 1: hi\nPerson 2: hello\n\nPerson 1: bye\nPerson 2: see you", [HI, BYE], id="persons"),
        pytest.param("A: hi\nB: hello\n", [HI], id="letters"),
        pytest.param(
            "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nhello<|im_end|>\n"
            "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nbye<|im_end|>\n<|im_start|>assistant\nsee you",
            [chat("S:s") + HI, chat("S:s") + BYE],
            id="chatml",
        ),
        pytest.param("### User: hi ### Bot: hello\n### User: bye ### Bot: see you", [HI, BYE], id="lines"),
        pytest.param("[INST] hi [/INST] hello\n[INST] bye [/INST] see you\n", [HI, BYE], id="llama2"),
        pytest.param(
            "User: hi\nBot: hello\n<|endoftext|>\nUser: bye\nBot: see you\n<|endoftext|>\n", [HI, BYE], id="ends"
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_dialogues(tmp_path, text, conversations, end):
    path = tmp_path / "chat.txt"
    path.write_bytes(text.replace("\n", end).encode())
    assert load_conversation_data(path) == conversations


RAW = "no <user>/<assistant> tags found; is this raw text? then give it to --pretrain"


@pytest.mark.parametrize(
    ("text", "where", "problem"),
    [
        ("hi ||| hello __eou__ a\nbye ||| b __eou__ c", ":1", "unclear what parts the turns: __eou__ and ||| are"),
        ("hi ||| hello\nbye ||| you\nno more\n", ":3", "no ||| in this line, but in 2 of 3: unclear whether it parts"),
        ("1\thi\n2\thello\n", ":1", "lines of fields, not of turns; put the columns' names on top"),
        ("L1 +++$+++ u0 +++$+++ Anna +++$+++ hi\n" * 3, ":1", "lines of fields, not of turns; put the columns'"),
        ("text:hi\tlabels:hello\n" * 2, ":1", "lines of fields, not of turns; put the columns' names"),
        ("Anna: hi\nBen: hello\nAnna: bye\nBen: see you\n", ":1",
         'messages are by people, "Anna", "Ben": who is the assistant? Give --assistant NAME'),
        ("12/31/20, 11:59 PM - Anna: hi\n12/31/20, 11:59 PM - Ben: hello\n" * 2, ":1",
         'messages are by people, "Anna", "Ben": who is the assistant? Give --assistant NAME'),
        ("[25.11.20, 17:03:09] Anna: hi\n[25.11.20, 17:03:11] Ben: hello\n" * 2, ":1",
         'messages are by people, "Anna", "Ben"'),
        ("[25-Nov-20 05:03 PM] Anna#1234\nhi\n\n", ":1", 'messages are by people, "Anna#1234": who is the'),
        ("[12:03] <anna> hi\n[12:04] <ben> hello\n" * 2, ":1", 'messages are by people, "anna", "ben"'),
        ("First Citizen:\nBefore we proceed.\n\nAll:\nSpeak.\n", "", RAW),
        ("Note: one\nWarning: two\nHint: three\nTip: four\nEnd: five\n", "", RAW),
        ("She said: no.\nHe went away.\n", "", RAW),
    ],
)  # fmt: skip
def test_unclear_or_no_dialogues(tmp_path, text, where, problem):
    path = tmp_path / "chat.txt"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        load_conversation_data(path)
    assert str(caught.value).startswith(f"{path}{where}: {problem}")


def test_a_line_of_one_turn_is_left_out(tmp_path):
    path = tmp_path / "chat.txt"
    path.write_text("hi ||| hello\n" * 30 + "alone\n")
    summary = ReadSummary(path)
    assert list(iter_conversations(path, summary)) == [HI] * 30
    assert summary.skipped == {"no assistant turn": 1}


WORDS = st.text(st.characters(categories=["L", "N", "P"], exclude_characters="|<>[]_:*#.,;/-"), min_size=1, max_size=9)
LINES = st.lists(
    st.lists(WORDS.filter(lambda word: not word.isdigit()), min_size=2, max_size=5), min_size=1, max_size=5
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LINES, st.sampled_from([" ||| ", "__eou__", " </s> ", "[SEP]"]))
def test_separated_round_trip(tmp_path, dialogues, separator):
    path = tmp_path / "chat.txt"
    path.write_text("\n".join(separator.join(turns) for turns in dialogues), encoding="utf-8")
    assert load_conversation_data(path) == [
        [{"role": "assistant" if index % 2 else "user", "content": text} for index, text in enumerate(turns)]
        for turns in dialogues
    ]
