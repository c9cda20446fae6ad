"""The demo model in the box: it loads, verifies, answers, and knows its world."""

import pytest

from tinylm.data.world import score_world, test_items
from tinylm.manifest import README_FILE
from tinylm.runtime import ChatModel, SamplingOptions
from tinylm.runtime.chat import reply_to
from tinylm.runtime.demo import DEMO_BUNDLE
from tinylm.runtime.verification import verify_bundle

test_items.__test__ = False
# Some points below what the model reaches
LEAST = {"itself": 0.91, "talk": 0.86, "known": 0.95, "told_listed": 0.9, "told_unseen": 0.85, "not_known": 0.83}
GREEDY = SamplingOptions(temperature=0, max_new_tokens=64)


def test_it_is_whole_and_small():
    manifest = verify_bundle(DEMO_BUNDLE)
    files = [path for path in DEMO_BUNDLE.iterdir() if path.name != "__init__.py" and path.is_file()]
    assert {path.name for path in files} == {*manifest.files, "manifest.json", README_FILE}
    assert sum(path.stat().st_size for path in files) <= 4_000_000
    assert manifest.chat
    assert manifest.graph.precision == "int8"
    assert len(manifest.golden.continuation) >= 5


def test_it_remembers_across_turns():
    chat = ChatModel().start_chat(options=GREEDY)
    for text in ("My name is Thaddeus.", "What should I wear when it rains?"):
        assert "".join(chat.send(text)).strip()
    assert "Thaddeus" in "".join(chat.send("What is my name?"))


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("WHAT IS YOUR NAME?", "Pip"),
        ("thx!", "welcome"),
        ("What is the capital of Mongolia?", "do not know"),
        ("Can you tell me about quantum physics?", "do not know"),
        ("It's raining outside, what should I put on?", "raincoat"),
    ],
)
def test_its_first_minute(text, needed):
    assert needed in "".join(ChatModel().start_chat(options=GREEDY).send(text))


def test_it_is_right_where_training_never_was():
    model = ChatModel()
    score = score_world(
        lambda conversation: reply_to(model.session, model.tokenizer, conversation, GREEDY), test_items()
    )
    assert score.n > 500
    below = {name: score.by_category[name] for name, least in LEAST.items() if score.by_category[name] < least}
    assert not below
    assert score.baseline_accuracy <= 0.15
