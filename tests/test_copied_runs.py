"""Runs of words that texts share with others, against brute force."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tinylm.copied_runs import CopiedRuns
from tinylm.words import words_of

# Two letters repeat themselves often; the words behind the end of the alphabet are in one side alone
TEXTS = st.lists(st.lists(st.sampled_from("ababcd"), max_size=14).map(" ".join), max_size=4)


def longest_by_brute_force(text, others):
    words = words_of(text)
    others = [f" {' '.join(words_of(other))} " for other in others]
    for length in range(len(words), 0, -1):
        for start in range(len(words) - length + 1):
            run = words[start : start + length]
            if any(f" {' '.join(run)} " in other for other in others):
                return tuple(run)
    return ()


@settings(deadline=None, max_examples=400)
@given(texts=TEXTS, others=TEXTS)
def test_the_longest_run_of_each_text(texts, others):
    runs = CopiedRuns(texts)
    for other in others:
        runs.add(other)
    assert runs.longest() == [longest_by_brute_force(text, others) for text in texts]


def test_case_punctuation_and_line_ends_do_not_end_a_run():
    runs = CopiedRuns(["I said: the Cat, she\nsat DOWN on it."])
    runs.add("Once the cat\u2014she sat down! A dog came.")
    assert runs.longest() == [("the", "cat", "she", "sat", "down")]


def test_a_run_does_not_reach_over_the_end_of_a_text():
    runs = CopiedRuns(["one two three four", "five six"])
    for other in ("zero one two", "three four five", "six"):
        runs.add(other)
    assert runs.longest() == [("one", "two"), ("five",)]


def test_nothing_read_and_nothing_to_find():
    assert CopiedRuns(["one two"]).longest() == [()]
    runs = CopiedRuns([])
    runs.add("one two")
    assert runs.longest() == []
