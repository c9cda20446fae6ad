"""The replies of a run in its log and its report."""

import json

import pytest

from tinylm.report.replies import found_share, reply_figures
from tinylm.report.report import make_report
from tinylm.run_folder import RunFolder
from tinylm.run_log import EventLine, RunLog, read_metrics
from tinylm.training import reply_measurement
from tinylm.training.reply_measurement import measurement_seconds

FIGURES = {
    "replies": 30,
    "ranked": 30,
    "hits_at_1_of_10": 0.25,
    "hits_at_1_of_10_standard_error": 0.08,
    "hits_at_1_of_10_baseline": 0.2,
    "hits_at_1_of_10_baselines": {"chance": 0.1, "word_overlap": 0.2},
    "repetition": 0.123,
    "repetition_baseline": 0.0,
    "longest_copied_run": 17,
    "longest_copied_run_baseline": 6,
}


def log_of(*details):
    return RunLog(events=[EventLine("finetune", 9, "measured", "", values) for values in details])


@pytest.fixture(scope="module")
def run(must, settings, tmp_path_factory):
    """A run that holds out enough replies to rank them."""
    folder = tmp_path_factory.mktemp("measured")
    chats = [
        {"messages": [{"role": "user", "content": f"What is {n}?"}, {"role": "assistant", "content": f"It is {n}!"}]}
        for n in range(60)
    ]
    (folder / "chats.jsonl").write_text("".join(json.dumps(chat) + "\n" for chat in chats))
    options = settings(data_validation_fraction=0.25, model_context_length=32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reply_measurement, "_SECONDS", 1e6)  # also on a machine that is busy
        must("train", "--finetune", folder / "chats.jsonl", "--steps", 4, "--out", folder / "run", *options)
    return RunFolder(folder / "run")


def test_a_run_that_ends_is_measured(run, must):
    (event,) = [event for event in read_metrics(run.metrics).events if event.event == "measured"]
    assert event.details.keys() == FIGURES.keys()
    assert event.details["replies"] == event.details["ranked"] == 15
    # The same as `tinylm eval` finds, on the same held-out data and without it in the training data
    found = json.loads(must("eval", run.path, "--json").stdout)
    assert {name: found[name] for name in FIGURES} == event.details
    assert event.details["longest_copied_run_baseline"] == 2
    page = make_report(run)
    assert "<h2>Replies</h2>" in page
    assert f"{event.details['hits_at_1_of_10']:.1%}" in page
    assert "It is 1!" not in page


def test_few_held_out_replies_are_not_measured(runs):
    run = RunFolder(runs["classic"])
    assert [event for event in read_metrics(run.metrics).events if event.event == "measured"] == []
    page = make_report(run)
    assert "Not measured." in page
    assert "how often the model finds the true reply among ten" in page


def test_figures_by_hand():
    assert reply_figures(log_of({"replies": 1}, FIGURES)) == {
        "count": 30,
        "rows": [
            ("the true reply is found among ten (hits@1)", "25.0% ± 8.0%", "chance 10.0%, word overlap 20.0%"),
            ("runs of four words that are repeated in a reply", "12.3%", "people 0.0%"),
            ("longest run of words copied from the training data", "17", "people 6"),
        ],
    }
    assert found_share(log_of(FIGURES)) == [("25.0%", "of true replies found among ten")]
    nothing = dict.fromkeys(FIGURES) | {"replies": 3}
    assert reply_figures(log_of(nothing)) == {"count": 3, "rows": []}
    assert found_share(log_of(nothing)) == []


@pytest.mark.parametrize("odd", [{}, {"replies": "many"}, {"replies": None}])
def test_an_odd_log_has_no_figures(odd):
    assert reply_figures(log_of(odd)) is None
    assert found_share(log_of(odd)) == []
    assert reply_figures(RunLog()) is None


def test_the_time_that_is_left_for_it():
    assert measurement_seconds(0) == 10
    assert measurement_seconds(20) == 0
    assert measurement_seconds(100) == pytest.approx(3)
    assert measurement_seconds(3600) == 10
