"""The world: deterministic, well-formed, tested by items written apart from training, and judged strictly."""

import hashlib
import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from functools import cache

import pytest

from tinylm.data import world
from tinylm.data.world.as_typed import typed
from tinylm.data.world.held_out import held_out_values, test_blocks
from tinylm.data.world.intents import OPEN_FIELDS, all_intents
from tinylm.data.world.judge import CATEGORIES, WorldItem
from tinylm.data.world.open_values import VALUE_KINDS, new_value
from tinylm.data.world.phrasings import normal
from tinylm.data.world.told_facts import KINDS
from tinylm.data.world.values import ALL_VALUES
from tinylm.errors import WriteError

test_blocks.__test__ = False
MARKUP = re.compile(r"[{}\[\]|]")
# Doubled marks, a blank before a mark, doubled blanks
SLIP = re.compile(r"[?.!,] *[?.,]| [?.!,]|  ")
# "a apple"
WRONG_ARTICLE = re.compile(r"\ba [aeio]|\ban [^aeiou]")


@cache
def conversations():
    return world.training_conversations(4000)


@cache
def documents():
    return world.training_documents(1500)


@cache
def items():
    return tuple(world.test_items())


def plain(reply):
    return reply.replace("{me}", "Pip").replace("{user}", "")


def digest():
    parts = (world.training_conversations(200, 3), world.training_documents(50, 3))
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def test_equal_seeds_give_equal_data_and_other_seeds_other_data():
    assert world.training_conversations(50, 1) == world.training_conversations(50, 1)
    assert world.training_conversations(50, 1) != world.training_conversations(50, 2)
    assert world.training_documents(20, 1) == world.training_documents(20, 1)
    assert world.training_documents(20, 1) != world.training_documents(20, 2)
    assert world.test_items() == world.test_items()


def test_another_process_with_another_hash_seed_gives_the_same():
    code = (
        "import hashlib, json; from tinylm.data import world;"
        "parts = (world.training_conversations(200, 3), world.training_documents(50, 3));"
        "print(hashlib.sha256(json.dumps(parts).encode()).hexdigest())"
    )
    paths = os.pathsep.join(path for path in sys.path if path)
    env = os.environ | {"PYTHONHASHSEED": "12345", "PYTHONPATH": paths}
    ran = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == digest()


def test_the_world_changes_on_purpose_only():
    assert digest() == "b3d94e9e7fa2bc36d1a06bbfddcb36bf805040eac8e2146605d75c4e1ae3b3c7"


def test_conversations_are_well_formed():
    for conversation in conversations():
        turns = conversation[1:] if conversation[0]["role"] == "system" else conversation
        assert [turn["role"] for turn in turns] == ["user", "assistant"] * (len(turns) // 2)
        assert 2 <= len(turns) <= 16
        assert all(turn["content"].strip() for turn in conversation)


def test_replies_and_documents_are_plain():
    texts = [turn["content"] for talk in conversations() for turn in talk if turn["role"] == "assistant"]
    for text in [*texts, *documents()]:
        assert text.isascii()
        assert not MARKUP.search(text), text
        assert not SLIP.search(text.lower()), text
        assert not WRONG_ARTICLE.search(text.lower()), text


def test_no_field_is_left_in_what_users_say():
    for conversation in conversations():
        for turn in conversation:
            assert not re.search(r"[{}\[\]|]", turn["content"]), turn


def test_documents_have_their_length():
    assert all(60 <= len(text.split()) <= 200 for text in documents())


def test_the_vocabulary_is_small():
    replies = {word for intent in all_intents().values() for reply in intent.replies for word in normal(reply).split()}
    asked = {word for intent in all_intents().values() for core in intent.cores for word in normal(core.text).split()}
    assert len(replies) < 700
    assert len(replies | asked) < 4000


def test_half_of_the_conversations_tell_facts_and_an_eighth_have_a_system_message():
    systems = sum(conversation[0]["role"] == "system" for conversation in conversations())
    assert 0.1 < systems / len(conversations()) < 0.16
    starts = tuple({reply.split("{v}")[0] for kind in KINDS for reply in kind.replies} - {""})
    told = sum(
        any(turn["role"] == "assistant" and turn["content"].startswith(starts) for turn in conversation)
        for conversation in conversations()
    )
    assert 0.4 < told / len(conversations()) < 0.7


@pytest.mark.parametrize("kind", VALUE_KINDS)
def test_values_do_not_come_from_a_list(kind):
    rng = random.Random(kind)
    values = [new_value(rng, kind) for _ in range(3000)]
    assert all(value.strip() == value and value for value in values)
    enough = {"numbers": 900, "dates": 330}.get(kind, 1700)
    assert len(set(values)) >= enough, len(set(values))


def test_typing_keeps_the_fields():
    rng = random.Random(0)
    for _ in range(2000):
        text = typed(rng, "my dog is called {v0} and i live in {v1}, you know.", values=True)
        filled = text.fill(lambda name: f"Value{name[1:]}")
        assert [text.spelled("Value0") in filled, text.spelled("Value1") in filled] == [True, True], filled


def test_people_type_in_many_ways():
    rng = random.Random(0)
    seen = {typed(rng, "please tell me what your favourite colour is.").text for _ in range(2000)}
    assert len(seen) > 500
    assert any(text.isupper() for text in seen)
    assert any("fav colour" in text for text in seen)
    assert any(not text.isascii() for text in seen)


def test_no_value_of_the_test_is_in_the_training_data():
    words = {
        word
        for text in (*documents(), *(turn["content"] for talk in conversations() for turn in talk))
        for word in re.findall(r"\w+", text.lower())
    }
    assert len(held_out_values()) > 100
    assert held_out_values().isdisjoint(words), held_out_values() & words
    assert held_out_values().isdisjoint(word for value in ALL_VALUES for word in value.lower().split())


def test_items_cover_their_categories():
    counts = Counter(item.category for item in items())
    assert set(counts) == set(CATEGORIES)
    assert min(counts.values()) >= 50
    assert counts["told_unseen"] >= 150
    assert {len(item.turns) for item in items()} >= {1, 2, 3, 4}
    for item in items():
        for text in (*item.turns, *(word for group in item.required for word in group)):
            assert text.strip() == text
            assert not MARKUP.search(text), item


def test_told_values_stand_in_their_conversations():
    for item in items():
        if item.category.startswith("told"):
            told = normal(" ".join((item.system, *item.turns[:-1])))
            for (value,) in item.required:
                assert f" {normal(value)} " in f" {told} ", item
                assert normal(value) not in normal(item.turns[-1]).split(), item


def test_most_items_are_asked_in_words_that_training_does_not_have():
    asked = {normal(turn["content"]) for talk in conversations() for turn in talk if turn["role"] == "user"}
    for category in CATEGORIES:
        found = [normal(item.turns[-1]) in asked for item in items() if item.category == category]
        assert sum(found) / len(found) < 0.4, category


def test_open_fields_are_kinds_of_values():
    assert set(OPEN_FIELDS.values()) <= set(VALUE_KINDS)


def judged(category, required, reply, forbidden=()):
    return WorldItem(category, "x", ("?",), required, forbidden).judge(reply)


def test_right_replies_are_right_and_those_of_other_intents_wrong():
    passed = asked = 0
    replies = [(intent.name, plain(reply)) for intent in all_intents().values() for reply in intent.replies]
    for intent in all_intents().values():
        required = tuple(tuple(word.replace("{me}", "Pip") for word in group) for group in intent.required)
        category = "not_known" if intent.topic == "unknown" else "known"
        for name, reply in replies:
            right = judged(category, required, reply, intent.forbidden)
            if name == intent.name:
                assert right, (name, reply)
            elif all_intents()[name].topic != "unknown" or intent.topic != "unknown":
                asked += 1
                passed += right
    assert passed / asked < 0.01


def test_lazy_replies_score_next_to_nothing():
    assert world.score_world(lambda _: "", items()).accuracy == 0.0
    echo = world.score_world(lambda conversation: conversation[-1]["content"], items())
    assert echo.accuracy < 0.08
    assert echo.by_category["told_unseen"] == 0.0
    assert echo.baseline_accuracy < 0.2
    everything = " ".join(ALL_VALUES)
    assert world.score_world(lambda _: everything, items()).accuracy == 0.0


def right_reply(item):
    return " ".join(group[0] for group in item.required).upper()


def test_the_score_counts_what_it_says():
    by_turn = {(item.system, item.turns): item for item in items()}

    def answer(conversation, categories):
        system = conversation[0]["content"] if conversation[0]["role"] == "system" else ""
        turns = tuple(message["content"] for message in conversation if message["role"] == "user")
        item = by_turn.get((system, turns))
        return right_reply(item) if item and item.category in categories else "?"

    perfect = world.score_world(lambda conversation: answer(conversation, CATEGORIES), items())
    assert (perfect.accuracy, perfect.recall_accuracy, perfect.n, perfect.failures) == (1.0, 1.0, len(items()), [])
    assert perfect.by_category == dict.fromkeys(CATEGORIES, 1.0)
    known = world.score_world(lambda conversation: answer(conversation, ("known",)), items())
    assert known.recall_accuracy == 0.0
    assert known.by_category == dict.fromkeys(CATEGORIES, 0.0) | {"known": 1.0}
    assert known.accuracy == sum(item.category == "known" for item in items()) / len(items())
    assert all(conversation[-1]["content"] == "?" for _, conversation in known.failures)
    assert world.score_world(lambda _: "", []).accuracy == 0.0


def test_a_told_fact_is_right_with_its_value_and_no_other():
    required, forbidden = (("Rex",),), ("Bo",)
    assert judged("told_unseen", required, "it is REX, I think.", forbidden)
    assert not judged("told_unseen", required, "It is Rexford.", forbidden)
    assert not judged("told_unseen", required, "It is Rex or Bo.", forbidden)
    assert not judged("told_unseen", required, "You have not told me about Rex.", forbidden)
    assert not judged("known", (("garden",),), "I do not know that. I can talk about the garden.")
    assert judged("not_known", (("do not know",), ("garden",)), "I don't know that. I can talk about the garden.")
    assert not judged("known", (("garden",),), "garden " * 41)


def test_written_files_hold_the_data(tmp_path):
    world.write_world(tmp_path / "new", conversations=30, documents=20, seed=4)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["chats.jsonl", "world.txt"]
    lines = (tmp_path / "new" / "chats.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["messages"] for line in lines] == world.training_conversations(30, 4)
    text = (tmp_path / "new" / "world.txt").read_text(encoding="utf-8")
    assert text.removesuffix("\n").split("\n<|endoftext|>\n") == world.training_documents(20, 4)


def test_a_failed_write_leaves_the_old_files(tmp_path, monkeypatch):
    world.write_world(tmp_path, conversations=3, documents=3)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full_disk(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(WriteError, match="no space left"):
        world.write_world(tmp_path, conversations=9, documents=9)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
