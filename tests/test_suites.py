"""`tinylm eval --suite`: minimal pairs and multiple choice."""

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm.data.suites import BUNDLED, SuiteItem, read_suite
from tinylm.data.suites.simple_english import PAIRS, PHENOMENA, as_json_lines
from tinylm.errors import DataError
from tinylm.evaluation import Window
from tinylm.quality import evaluate_suite
from tinylm.runtime import ChatModel
from tinylm.runtime.scoring import continuation_losses, decode_losses
from tinylm.suite_scoring import score_suite


@pytest.fixture(scope="module")
def model():
    return ChatModel(threads=1)


def score(model, items):
    session = model.session
    return score_suite(session, lambda ids: continuation_losses(session, ids), model.tokenizer, items)


def loss_of(model, text):
    ids = np.array([model.tokenizer.bos_id, *model.tokenizer.encode(text)])
    return decode_losses(model.session, [Window(ids[:-1], ids[1:])])


def test_the_bundled_pairs_are_those_of_the_templates():
    assert BUNDLED["simple-english"].read_text("utf-8") == as_json_lines()
    items = read_suite("simple-english")
    assert Counter(item.phenomenon for item in items) == {one.__name__: PAIRS for one in PHENOMENA}
    assert len({item.options for item in items}) == len(items)


def test_the_sentences_of_a_pair_differ_in_a_word_or_in_the_order_of_two():
    for item in read_suite("simple-english"):
        good, bad = (text.rstrip(".?").split() for text in item.options)
        assert good != bad
        assert len(good) == len(bad)
        differing = sum(one != other for one, other in zip(good, bad, strict=True))
        moved = Counter(map(str.lower, good)) == Counter(map(str.lower, bad))
        assert differing <= (4 if moved else 1) or item.options[0].startswith(("Neither", "None")), item.options


def test_no_word_is_right_more_often_than_it_is_wrong():
    rights: dict[str, Counter[str]] = {}
    for item in read_suite("simple-english"):
        good, bad = (set(text.rstrip(".?").split()) for text in item.options)
        count = rights.setdefault(item.phenomenon, Counter())
        count.update(dict.fromkeys(good - bad, 1))
        count.update(dict.fromkeys(bad - good, -1))
    for phenomenon in ("agreement_with_be", "agreement_over_a_distance", "a_or_an", "reflexives", "many_or_much"):
        assert max(map(abs, rights[phenomenon].values())) <= 14, phenomenon


def test_the_likelier_sentence_is_the_answer(model):
    texts = ["My name is Pip.", "Name is my Pip."]
    likely, unlikely = sorted(texts, key=lambda text: loss_of(model, text))
    result = score(model, [SuiteItem("a", "", (likely, unlikely)), SuiteItem("b", "", (unlikely, likely))])
    assert [answer.right for answer in result.answers] == [1, 0]
    assert {name: one.accuracy for name, one in result.by_phenomenon().items()} == {"a": 1, "b": 0}
    assert result.accuracy == result.chance == 0.5
    assert result.standard_error == 0.5


def test_equal_texts_are_a_matter_of_chance(model):
    result = score(model, [SuiteItem("a", "", ("the same",) * 4)])
    assert result.accuracy == result.chance == 0.25


def test_choices_are_scored_in_their_context_in_total_and_by_byte(model):
    context, options = "Who are you?", ("I am Pip", "I am Pip, a chat helper in this house, and you are not")
    whole = [loss_of(model, f"{context} {option}") - loss_of(model, context) for option in options]
    (answer,) = score(model, [SuiteItem("a", context, options)]).answers
    assert answer.right == (whole[0] < whole[1])
    by_byte = [loss / (len(option) + 1) for loss, option in zip(whole, options, strict=True)]
    assert answer.right_by_byte == (by_byte[0] < by_byte[1])


def test_what_does_not_fit_the_context_is_left_out(model):
    items = [SuiteItem("a", "", ("word " * 3000, "b")), SuiteItem("a", "", ("a", "b"))]
    assert len(score(model, items).answers) == 1


def test_blimp_s_own_form(tmp_path):
    file = tmp_path / "adjunct_island.jsonl"
    pair = {"sentence_good": "Who should Derek hug?", "sentence_bad": "Who should hug?", "pairID": "0"}
    labels = {"field": "syntax", "linguistics_term": "island_effects", "UID": "adjunct_island"}
    file.write_text(json.dumps({**pair, **labels}) + "\n" + json.dumps(pair) + "\n")
    options = ("Who should Derek hug?", "Who should hug?")
    assert read_suite(file) == [SuiteItem("island_effects", "", options), SuiteItem("adjunct_island", "", options)]


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"question": "2 + 2?", "choices": ["3", "4"], "answer": 1}, ("2 + 2?", ("4", "3"))),
        ({"query": "2 + 2?", "options": ["3", "4", "5"], "label": "B"}, ("2 + 2?", ("4", "3", "5"))),
        ({"ctx": "He sat ", "endings": ["down.", "up."], "label": "0"}, ("He sat", ("down.", "up."))),
        ({"prompt": "x", "choices": ["1", "0"], "gold": "0"}, ("x", ("0", "1"))),
        ({"choices": ["a", "b"], "answer": "b"}, ("", ("b", "a"))),
    ],
)
def test_multiple_choice(record, expected, tmp_path):
    file = tmp_path / "quiz.jsonl"
    file.write_text(json.dumps(record))
    (item,) = read_suite(file)
    assert (item.context, item.options) == expected
    assert item.phenomenon == "quiz"


@pytest.mark.parametrize(
    "record",
    [
        '["a"]',
        '{"sentence_good": "a"}',
        '{"sentence_good": "a", "sentence_bad": ""}',
        '{"sentence_good": "a", "sentence_bad": 3}',
        '{"question": "a", "choices": ["a"], "answer": 0}',
        '{"question": "a", "choices": ["a", "b"], "answer": 2}',
        '{"question": "a", "choices": ["a", "b"], "answer": true}',
        '{"question": "a", "choices": ["a", "b"]}',
        '{"question": ["a"], "choices": ["a", "b"], "answer": 0}',
        '{"question": "a", "choices": "ab", "answer": 0}',
        '{"text": "a"}',
        "no JSON",
    ],
)
def test_a_line_that_is_no_item_is_named(record, tmp_path):
    file = tmp_path / "suite.jsonl"
    file.write_text('{"sentence_good": "a", "sentence_bad": "b"}\n' + record + "\n")
    with pytest.raises(DataError) as error:
        read_suite(file)
    assert str(error.value).startswith(f"{file}:2: ")


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_file_is_a_suite_or_is_refused(tmp_path_factory, content):
    file = tmp_path_factory.getbasetemp() / "fuzzed.jsonl"
    file.write_bytes(content)
    with pytest.raises(DataError):
        read_suite(file)


def test_a_run_and_its_bundle_give_the_same_answers(runs, bundles, tmp_path):
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(as_json_lines().splitlines(keepends=True)[::20]))
    of_run, of_bundle = (evaluate_suite(path, [file]) for path in (runs["classic"], bundles["classic", "fp32"]))
    assert len(of_run.answers) == 35
    same = sum(one == other for one, other in zip(of_run.answers, of_bundle.answers, strict=True))
    assert same >= 34, "but for rounding"


def test_the_command(run_cli, must, tmp_path, bundle):
    file = tmp_path / "quiz.jsonl"
    items = [{"question": "Who?", "choices": ["I am Pip.", "Pip am I."], "answer": 0, "category": "order_of\twords"}]
    items.append({"sentence_good": "x " * 500, "sentence_bad": "y"})
    file.write_text("".join(json.dumps(item) + "\n" for item in items))
    shown = must("eval", bundle, "--suite", file)
    assert "1 items do not fit" in shown.stderr
    assert "chance" in shown.stdout
    values = json.loads(must("eval", bundle, "--suite", file, "--json").stdout)
    assert values["n"] == values["by_phenomenon"]["order_of\twords"]["n"] == 1
    assert values["chance"] == 0.5
    assert values["accuracy"] in {0.0, 1.0}
    for arguments, code, word in (
        (["--suite", "blimp"], 1, "simple-english"),
        (["--suite", file, "--world"], 2, "--suite brings"),
        (["--suite", file, "--data", file], 2, "--suite brings"),
    ):
        result = run_cli("eval", bundle, *arguments)
        assert (result.exit_code, word in result.stderr) == (code, True), result.stderr
