"""hits@1 of 10: the tasks, the rule for ties, and what rankings without a model reach."""

import math
import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinylm.reply_ranking import CANDIDATES, Baselines, RankingTask, hit, make_tasks


def conversation(*texts):
    return [{"role": ("user", "assistant")[number % 2], "content": text} for number, text in enumerate(texts)]


def key(text):
    return " ".join(text.casefold().split())


REPLIES = st.sampled_from(["Yes.", "yes. ", "No.", *(f"It is {number}." for number in range(12))])
CONVERSATIONS = st.lists(
    st.lists(REPLIES, min_size=1, max_size=4).map(
        lambda replies: conversation(*(text for reply in replies for text in ("And then?", reply)))
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=80)
@given(conversations=CONVERSATIONS, seed=st.integers(0, 3))
def test_tasks(conversations, seed):
    tasks = make_tasks(conversations, seed=seed)
    replies = [(n, place) for n, one in enumerate(conversations) for place in range(1, len(one), 2)]
    # Each reply once, with all that is before it
    asked = [(task.context, task.true) for task in tasks]
    expected = [(conversations[n][:place], conversations[n][place]["content"]) for n, place in replies]
    assert sorted(asked, key=repr) == sorted(expected, key=repr)
    for task in tasks:
        keys = [key(candidate) for candidate in task.candidates]
        assert len(keys) in {1, CANDIDATES}
        assert len(set(keys)) == len(keys)
        assert set(keys) <= {key(conversations[n][place]["content"]) for n, place in replies}
    assert make_tasks(conversations, seed=seed) == tasks
    assert [task.true for task in make_tasks(conversations, 3, seed)] == [task.true for task in tasks[:3]]


def test_wrong_replies_are_of_other_conversations():
    conversations = [conversation("Hi", f"It is {number}.", "And?", f"And {number}.") for number in range(6)]
    tasks = make_tasks(conversations)
    assert len(tasks) == 12
    for task in tasks:
        own = next(number for number, one in enumerate(conversations) if one[: len(task.context)] == task.context)
        number = task.true.strip("Itsand .")
        assert all(number not in candidate for candidate in task.candidates[1:]), own
    # With one conversation less there are only eight others
    assert all(len(task.candidates) == 1 for task in make_tasks(conversations[:5]))


def test_another_seed_draws_others():
    conversations = [conversation("Hi", f"It is {number}.") for number in range(40)]
    assert make_tasks(conversations) == make_tasks(conversations)
    assert make_tasks(conversations, seed=1) != make_tasks(conversations)


def test_a_frequent_reply_is_drawn_as_often_as_it_occurs():
    conversations = [conversation("Hi", "Yes." if number % 2 else f"It is {number}.") for number in range(400)]
    with_yes = [("Yes." in task.candidates) for task in make_tasks(conversations)]
    assert all(with_yes)
    rare = [conversation("Hi", "Yes." if number % 50 == 0 else f"It is {number}.") for number in range(400)]
    shares = [("Yes." in task.candidates[1:]) for task in make_tasks(rare) if task.true != "Yes."]
    assert statistics.mean(shares) == pytest.approx(9 * 8 / 400, abs=0.06)


def test_what_opens_a_conversation_answers_nothing():
    opened = [{"role": "assistant", "content": "Hello!"}, {"role": "user", "content": "Hi"}]
    assert make_tasks([opened]) == []
    assert [task.true for task in make_tasks([[*opened, {"role": "assistant", "content": "Well?"}]])] == ["Well?"]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([2, 1, 0], 1),
        ([1, 2, 0], 0),
        ([2, 2, 0, 2], 1 / 3),
        ([0, 1, 1], 0),
        ([1] * 10, 0.1),
        ([math.nan, -5, -6], 0),
        ([math.nan] * 10, 0.1),
        ([-5, math.nan, -math.inf], 1),
    ],
)
def test_ties_share_a_hit(scores, expected):
    assert hit(scores) == expected


def test_baselines_by_hand():
    conversations = [
        conversation("Tell me of frogs", "a frog frog sings"),
        conversation("Hi", "a cat"),
        conversation("Hi", "A cat!"),
    ]
    scores = Baselines(conversations).scores(RankingTask(conversations[0][:1], ("a frog frog sings", "a cat")))
    # Beside its own, other replies have the words a cat a cat, or a frog frog sings a cat; there are 4 words
    expected = [math.log(3 / 9) + 2 * math.log(1 / 9) + math.log(1 / 9), math.log(3 / 11) + math.log(2 / 11)]
    assert scores["unigram"] == pytest.approx([expected[0] / 4, expected[1] / 2])
    assert scores["reply_frequency"] == [1, 2]
    # "frogs" is not "frog"
    assert scores["word_overlap"] == [0, 0]
    about = Baselines(conversations).scores(RankingTask(conversation("a frog"), ("a frog frog sings", "a cat", "!")))
    # A word of all three replies weighs nothing, a word of one log(4 / 2)
    assert about["word_overlap"] == pytest.approx([2 / math.sqrt(5), 0, 0])


def hits_of(name, frequent):
    """What a baseline reaches on replies to nothing, of several lengths and of words of several frequencies."""
    chosen = random.Random(1)
    words = [f"w{number}" for number in range(60)]
    conversations = [
        conversation(
            "Hi",
            chosen.choice(["yes", "no no"])
            if chosen.random() < frequent
            else " ".join(chosen.choices(words, range(60), k=chosen.randint(3, 9))),
        )
        for _ in range(800)
    ]
    baselines = Baselines(conversations)
    return statistics.mean(hit(baselines.scores(task)[name]) for task in make_tasks(conversations))


def test_what_does_not_look_at_the_conversation_is_as_good_as_chance_unless_replies_are_frequent():
    assert hits_of("unigram", 0) == pytest.approx(0.1, abs=0.03)
    assert hits_of("reply_frequency", 0) == pytest.approx(0.1, abs=0.03)
    # Equal replies do not compete, so that frequent ones are wrong less often than they are right
    assert 0.12 < hits_of("reply_frequency", 0.2) < 0.2
