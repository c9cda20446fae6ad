"""Of good and bad replies the good ones are learnt, whatever they are called."""

import pytest
from reading import chat, lines, read

GOOD, BAD = chat("U:q", "A:good"), chat("U:q", "A:bad")
MARKED = "replies marked as bad"


@pytest.mark.parametrize(
    "marks",
    [
        {"label": False},
        {"label": 0},
        {"label": 0.0},
        {"label": "False"},
        {"label": "0"},
        {"label": "bad"},
        {"label": "rejected"},
        {"is_good": False},
        {"accepted": "False"},
        {"chosen": False},
        {"rejected": True},
        {"thumbs_up": 0},
        {"thumbsUp": False},
        {"is_correct": "no"},
        {"feedback": "thumbs_down"},
        {"metadata": {"label": False}},
        {"Label": False},
    ],
)
@pytest.mark.parametrize(
    "record",
    [
        {"messages": BAD},
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "bad"}]},
        {"prompt": "q", "completion": "bad"},
        {"prompt": BAD[:1], "completion": BAD[1:]},
        {"dialog": ["q", "bad"]},
        {"conversation": "User: q\nAssistant: bad"},
        {"text": "User: q\nAssistant: bad"},
        {"turn1": "q", "turn2": "bad", "turn3": "q", "turn4": "bad"},
    ],
    ids=["messages", "sharegpt", "pair", "pair_of_messages", "texts", "cell", "text", "columns"],
)
def test_replies_marked_as_bad_are_left_out(tmp_path, record, marks):
    found = read(tmp_path / "a.jsonl", lines({**record, **marks}, {"messages": GOOD}))
    assert (found.items, found.skipped) == ([GOOD], {MARKED: 1})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "prompt,completion,label\nq,bad,False\nq,good,True\n"),
        ("a.csv", "prompt,completion,label\nq,bad,0\nq,good,1\n"),
        ("a.csv", "conversation_id,role,text,label\n1,user,q,0\n1,bot,bad,0\n2,user,q,1\n2,bot,good,1\n"),
        ("a.yml", "- prompt: q\n  completion: bad\n  label: false\n- prompt: q\n  completion: good\n  label: true\n"),
        ("a.jsonl", lines({"messages": [BAD[0], {**BAD[1], "label": False}]}, {"messages": GOOD})),
    ],
    ids=["csv", "csv_numbers", "rows", "yaml", "message"],
)
def test_marks_in_tables_and_messages(tmp_path, name, text):
    found = read(tmp_path / name, text)
    assert (found.items, found.skipped) == ([GOOD], {MARKED: 1})


def test_labels_that_are_classes_are_no_marks(tmp_path):
    records = [{"prompt": "q", "completion": "good", "label": number % 4} for number in range(8)]
    assert read(tmp_path / "a.jsonl", lines(*records)).items == [GOOD] * 8
    records = [{"prompt": "q", "completion": "good", "label": label} for label in ("joy", "anger", "0")]
    assert read(tmp_path / "a.jsonl", lines(*records)).items == [GOOD] * 3
    texts = [{"text": "a review", "label": 0}, {"text": "another", "label": 1}]
    assert read(tmp_path / "a.jsonl", lines(*texts), documents=True).items == ["a review", "another"]


def test_a_short_reply_is_no_mark(tmp_path):
    found = read(tmp_path / "a.jsonl", lines({"prompt": "q", "chosen": "No", "rejected": "Yes"}))
    assert found.items == [chat("U:q", "A:No")]


KEYS = [
    *(("chosen", "rejected"), ("real", "generated"), ("preferred", "dispreferred"), ("accepted", "rejected")),
    *(("winner", "loser"), ("good", "bad"), ("better", "worse"), ("best", "worst"), ("win", "lose")),
    *(("chosen_messages", "rejected_messages"), ("messages_chosen", "messages_rejected")),
    *(("chosenMessages", "rejectedMessages"), ("chosen_conversations", "rejected_conversations")),
    *(("preferred_output", "non_preferred_output"), ("Chosen Dialogue", "Rejected Dialogue")),
]


@pytest.mark.parametrize(("good", "bad"), KEYS)
@pytest.mark.parametrize("count", [1, 2])
def test_only_the_chosen_conversation_is_read(tmp_path, good, bad, count):
    for record in ({good: GOOD, bad: BAD}, {bad: BAD, "id": "x", good: GOOD, "model_chosen": "m"}):
        found = read(tmp_path / "a.jsonl", lines(*[record] * count))
        assert found.items == [GOOD] * count
        assert found.said == [f"left out: rejected replies; the chosen ones are read ({count})"]
        assert read(tmp_path / "a.jsonl", lines(*[record] * count), documents=True).items == ["q\ngood"] * count


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        *(("chosen_response", "rejected_response"), ("response_chosen", "response_rejected"), ("real", "generated")),
        *(("good_answer", "bad_answer"), ("better_completion", "worse_completion"), ("y_w", "y_l")),
    ],
)
def test_only_the_chosen_reply_is_read(tmp_path, good, bad):
    assert read(tmp_path / "a.csv", f"prompt,{bad},{good}\nq,bad,good\n").items == [GOOD]
    nested = {"input": {"messages": GOOD[:1]}, good: GOOD[1:], bad: BAD[1:]}
    assert read(tmp_path / "a.jsonl", lines(nested)).items == [GOOD]


@pytest.mark.parametrize(
    "record",
    [
        {"conversation_a": BAD, "conversation_b": GOOD, "winner": "model_b"},
        {"conversation_a": GOOD, "conversation_b": BAD, "winner": "model_a", "model_a": "x", "model_b": "y"},
        {"prompt": "q", "response_0": "bad", "response_1": "good", "better_response_id": 1},
        {"prompt": "q", "response_a": "good", "response_b": "bad", "winner_model_a": 1, "winner_model_b": 0},
    ],
)
def test_a_vote_tells_the_good_reply(tmp_path, record):
    assert read(tmp_path / "a.jsonl", lines(record)).items == [GOOD]


def test_two_conversations_in_each_record_are_refused(tmp_path):
    record = {"before": BAD, "after": GOOD}
    found = read(tmp_path / "a.jsonl", lines(record, record))
    assert found.items == []
    assert 'holds several conversations, under "before", "after": keep one of them' in found.error
    # A lone object may well have conversations under their names
    assert read(tmp_path / "a.json", record).items == [BAD, GOOD]


def test_several_replies_to_one_question(tmp_path):
    found = read(tmp_path / "a.jsonl", lines({"prompt": "q", "answer": ["good", "fine"]}))
    assert found.items == [GOOD]
    assert found.said == ["left out: further replies to the same question; the first one is read (1)"]
