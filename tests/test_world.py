"""The world: deterministic, well-formed, split without a leak, and judged strictly."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from itertools import pairwise

import pytest

from tinylm.data import world
from tinylm.data.world.intents import all_intents
from tinylm.data.world.judge import says
from tinylm.data.world.phrasings import all_texts, normal
from tinylm.data.world.recall import KIND_BY_NAME
from tinylm.data.world.values import ALL_VALUES
from tinylm.errors import WriteError

MARKUP = re.compile(r"[{}\[\]<>|]")
# "a apple", doubled marks, a blank before a mark, doubled blanks.
SLIP = re.compile(r"\ba [aeio]|\ban [^aeiou]|[?.!,] *[?.,]| [?.!,]|  ")


@cache
def conversations():
    return world.training_conversations(4000)


@cache
def documents():
    return world.training_documents(1500)


@cache
def items():
    return world.test_items(400)


@cache
def all_fact_texts(split):
    return {text for intent in all_intents().values() for text in all_texts((*intent.cores, *intent.follows), split)}


def groups_of(intent):
    return tuple(tuple(word.replace("{me}", "Pip") for word in group) for group in intent.required)


def plain(reply):
    return reply.replace("{me}", "Pip").replace("{user}", "")


def digest():
    parts = (world.training_conversations(200, 3), world.training_documents(50, 3))
    prompts = [(item.conversation, item.expected) for item in world.test_items(50, 3)]
    return hashlib.sha256(json.dumps([parts, prompts]).encode()).hexdigest()


def test_equal_seeds_give_equal_data_and_other_seeds_other_data():
    assert world.training_conversations(50, 1) == world.training_conversations(50, 1)
    assert world.training_conversations(50, 1) != world.training_conversations(50, 2)
    assert world.training_documents(20, 1) == world.training_documents(20, 1)
    assert world.training_documents(20, 1) != world.training_documents(20, 2)
    assert world.test_items(30, 1) == world.test_items(30, 1)
    assert world.test_items(30, 1) != world.test_items(30, 2)


def test_another_process_with_another_hash_seed_gives_the_same():
    code = (
        "import hashlib, json; from tinylm.data import world;"
        "parts = (world.training_conversations(200, 3), world.training_documents(50, 3));"
        "prompts = [(i.conversation, i.expected) for i in world.test_items(50, 3)];"
        "print(hashlib.sha256(json.dumps([parts, prompts]).encode()).hexdigest())"
    )
    paths = os.pathsep.join(path for path in sys.path if path)
    env = os.environ | {"PYTHONHASHSEED": "12345", "PYTHONPATH": paths}
    ran = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == digest()


def test_the_world_is_the_one_that_the_demo_model_learned():
    assert digest() == "fa21b86cea3abdb48f76d0bd4463b6515f7c2c3d217d1f3a0e846ee2443f4ae3"


def test_conversations_are_well_formed():
    for conversation in conversations():
        turns = conversation[1:] if conversation[0]["role"] == "system" else conversation
        assert [turn["role"] for turn in turns] == ["user", "assistant"] * (len(turns) // 2)
        assert 2 <= len(turns) <= 16
        assert all(turn["content"].strip() for turn in conversation)


def test_items_wait_for_a_reply():
    for item in items():
        assert item.conversation[-1]["role"] == "user"
        assert len(item.conversation) <= 17
        assert item.judge(item.expected), item


def test_text_is_plain():
    texts = [turn["content"] for conversation in conversations() for turn in conversation] + list(documents())
    for text in texts:
        assert text.isascii()
        assert not MARKUP.search(text), text
        assert not SLIP.search(text.lower()), text


def test_documents_have_their_length():
    assert all(60 <= len(text.split()) <= 200 for text in documents())


def test_the_vocabulary_is_small():
    texts = [turn["content"] for conversation in conversations() for turn in conversation] + list(documents())
    words = set(re.findall(r"[a-z']+", " ".join(texts).lower()))
    assert len(words - {value.lower() for value in ALL_VALUES}) < 1800


def test_about_half_of_the_conversations_recall_and_a_sixth_have_a_system_message():
    asks = {core.text for kind in KIND_BY_NAME.values() for core in kind.asks}
    pattern = re.compile("|".join(rf"\b{re.escape(ask)}\b" for ask in asks))
    recalls = sum(
        any(turn["role"] == "user" and pattern.search(normal(turn["content"])) for turn in conversation)
        for conversation in conversations()
    )
    systems = sum(conversation[0]["role"] == "system" for conversation in conversations())
    assert 0.4 < recalls / len(conversations()) < 0.55
    assert 0.15 < systems / len(conversations()) < 0.2


def test_no_text_about_the_world_is_in_both_splits():
    assert all_fact_texts("train").isdisjoint(all_fact_texts("test"))


def test_held_out_texts_use_only_words_of_the_training_texts():
    words = {split: {word for text in all_fact_texts(split) for word in text.split()} for split in ("train", "test")}
    assert words["test"] <= words["train"]


def test_every_intent_has_phrasings_in_both_splits():
    for intent in all_intents().values():
        cores = (*intent.cores, *(intent.follows if intent.parent else ()))
        assert len(set(all_texts(cores, "train"))) >= 12, intent.name
        assert len(set(all_texts(cores, "test"))) >= 3, intent.name
        assert 2 <= len(intent.replies) <= 4 or intent.parent


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_fact_question_of_an_item_is_in_the_training_data(seed):
    asked = {normal(turn["content"]) for conversation in conversations() for turn in conversation}
    asked |= {normal(part) for text in documents() for part in re.split(r'[?\n"]|Q: |Question: ', text)}
    for item in world.test_items(300, seed):
        if item.kind == "fact" or item.intent == "persona":
            text = normal(item.conversation[-1]["content"])
            assert text not in asked
            assert text not in all_fact_texts("train")


def test_no_recalled_value_with_its_question_is_in_the_training_data():
    seen = {
        (normal(user["content"]), word)
        for conversation in world.training_conversations(8000)
        for user, reply in pairwise(conversation)
        if user["role"] == "user"
        for word in normal(reply["content"]).split()
    }
    recalls = [item for item in world.test_items(1000, 5) if item.kind == "recall"]
    for item in recalls:
        assert (normal(item.conversation[-1]["content"]), item.required[0][0].lower()) not in seen, item


def test_a_recalled_value_stands_in_the_conversation_as_told():
    for item in items():
        if item.kind == "recall" and item.required[0] != ("not",):
            value = item.required[0][0]
            told = " ".join(turn["content"] for turn in item.conversation[:-1])
            assert re.search(rf"\b{value}\b", told) or (value.islower() and value.title() in told), item


def test_items_are_balanced():
    kinds = Counter(item.kind for item in items())
    assert kinds == {"fact": 240, "recall": 160}
    assert max(Counter(item.intent for item in items() if item.kind == "fact").values()) <= 6
    recalls = [item for item in items() if item.kind == "recall"]
    assert set(Counter(item.intent for item in recalls)) == {*KIND_BY_NAME, "persona"}
    assert {item.distance for item in recalls} == set(range(5))


def test_right_replies_are_right_and_those_of_other_intents_wrong():
    passed = asked = 0
    replies = [(intent.name, plain(reply)) for intent in all_intents().values() for reply in intent.replies]
    for intent in all_intents().values():
        required, forbidden = groups_of(intent), frozenset(intent.forbidden)
        for name, reply in replies:
            right = says(reply, required, forbidden)
            if name == intent.name:
                assert right, (name, reply)
            else:
                asked += 1
                passed += right
    assert passed / asked < 0.01


def test_lazy_replies_score_next_to_nothing():
    assert world.score_world(lambda _: "", items()).accuracy == 0.0
    echo = world.score_world(lambda conversation: conversation[-1]["content"], items())
    assert echo.accuracy < 0.01
    assert echo.baseline_accuracy < 0.15
    everything = " ".join(ALL_VALUES)
    assert world.score_world(lambda _: everything, items()).accuracy == 0.0


def test_the_score_counts_what_it_says():
    expected = {id(item.conversation): item for item in items()}
    perfect = world.score_world(lambda conversation: expected[id(conversation)].expected.upper(), items())
    assert (perfect.accuracy, perfect.recall_accuracy, perfect.n, perfect.failures) == (1.0, 1.0, 400, [])
    facts_only = world.score_world(
        lambda conversation: expected[id(conversation)].expected if expected[id(conversation)].kind == "fact" else "?",
        items(),
    )
    assert (facts_only.accuracy, facts_only.recall_accuracy) == (0.6, 0.0)
    assert all(reply == "?" for _, reply in facts_only.failures)
    assert world.score_world(lambda _: "", []).accuracy == 0.0


def test_a_recall_judge_wants_the_value_and_no_other():
    item = next(item for item in items() if item.intent == "colour" and item.required[0] != ("not",))
    value = item.required[0][0]
    other = "red" if value != "red" else "blue"
    ending = " ".join(group[0] for group in item.required[1:])
    assert item.judge(f"it is {value.upper()}, I think. {ending}")
    assert not item.judge(f"It is {value} or {other}. {ending}")
    assert not item.judge(f"It is {other}. {ending}")
    assert not item.judge(f"You have not told me. {ending}")


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
