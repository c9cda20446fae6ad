"""What is held out of one stage of training is held out of the other, whatever form the same text has."""

import json
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinylm.config import make_config
from tinylm.data.dataset.disk_cache import DataCache
from tinylm.data.dataset.held_out import content_hash
from tinylm.data.dataset.overlap import MAX_WORDS_BETWEEN, MIN_WORDS, PassageFinder
from tinylm.data.dataset.stages import prepare_stage, tokenize_files
from tinylm.data.dataset.survey import TextSample, find_tokenizer, hold_out_together, survey_files
from tinylm.data.readers.paths import DataFile
from tinylm.errors import DataError

WORDS = [
    "pond",
    "frog",
    "lamp",
    "rain",
    "moss",
    "bell",
    "kite",
    "plum",
    "boat",
    "hill",
    "fern",
    "wave",
    "drum",
    "nest",
    "song",
    "leaf",
]
CONFIG = make_config({"model": {"vocab_size": 300, "context_length": 64}})


def turn(number, place):
    rng = random.Random(f"{number} {place}")
    return " ".join(rng.choices(WORDS, k=6)).capitalize() + f" {number}."


def chat(number, turns=2):
    return [(("user", "assistant")[place % 2], turn(number, place)) for place in range(2 * turns)]


CHATS = [chat(number, 1 + number % 3) for number in range(80)]


def marked(user, assistant, end="\n", between="\n\n"):
    """Conversations as text: a mark before each turn."""
    marks = {"user": user, "assistant": assistant}
    return between.join("".join(f"{marks[role]}{text}{end}" for role, text in chat).strip() for chat in CHATS)


def as_messages(chats):
    lines = ({"messages": [{"role": role, "content": text} for role, text in chat]} for chat in chats)
    return "".join(json.dumps(line) + "\n" for line in lines)


FORMS = {
    "records": ("a.jsonl", as_messages(CHATS)),
    "tagged": ("a.txt", marked("<user> ", "<assistant> ")),
    "tagged, without blank lines": ("a.txt", marked("<user> ", "<assistant> ", between="\n")),
    "tagged, one on a line": ("a.txt", marked("<user> ", " <assistant> ", end="", between="\n")),
    "tagged, all on one line": ("a.txt", "<bos> " + marked("<user> ", " <assistant> ", " ", " <eos> <bos> ")),
    "labelled": ("a.txt", marked("User: ", "Assistant: ")),
    "labelled, without blank lines": ("a.txt", marked("User: ", "Assistant: ", between="\n")),
    "names and times": (
        "a.txt",
        marked("12/31/20, 11:59 PM - Anna Maria: ", "12/31/20, 11:59 PM - Pip: ", between="\n"),
    ),
    "ChatML": ("a.txt", marked("<|im_start|>user\n", "<|im_start|>assistant\n", "<|im_end|>\n")),
    "Llama 3": (
        "a.txt",
        marked(
            "<|start_header_id|>user<|end_header_id|>\n\n",
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
            "<|eot_id|>",
            "\n",
        ),
    ),
    "Llama 2": ("a.txt", marked("<s>[INST] ", " [/INST] ", "</s>", between="\n")),
    "headings": ("a.txt", marked("### Human: ", "### Assistant: ")),
    "separated": ("a.txt", "\n".join(" ||| ".join(text for _, text in chat) for chat in CHATS)),
    "in prose": (
        "a.txt",
        "\n".join(f"They met. {' Then: '.join(text for _, text in chat)} It was late." for chat in CHATS),
    ),
}


def words_of(text):
    return [word.casefold() for word in re.findall(r"\w+", text)]


def prepare_both(folder, name, text, chats=CHATS, finetune=as_messages, **settings):
    """Training text of pre-training, held-out conversations of fine-tuning, and the data of both stages."""
    (folder / name).write_text(text)
    (folder / "chats.jsonl").write_text(finetune(chats))
    cache, fraction = DataCache(folder / "cache"), settings.pop("fraction", 0.1)
    sample = TextSample(1_000_000)
    surveys = hold_out_together(
        [
            survey_files(stage, [DataFile(folder / file)], fraction, cache, sample=sample)[0]
            for stage, file in (("pretrain", name), ("finetune", "chats.jsonl"))
        ]
    )
    tokenizer, _ = find_tokenizer(surveys, 300, CONFIG.tokenizer, cache)
    shards = [tokenize_files(survey, tokenizer, cache, 1) for survey in surveys]
    training = []
    for one in shards:
        starts = [0, *one.ends[:-1].tolist()]
        spans = zip(starts, one.ends.tolist(), strict=True)
        training.append([tokenizer.decode(one.tokens.read(a, b).tolist()) for a, b in spans])
    held_out = surveys[1].split.conversations
    seen = "\n".join(sample.texts({survey.stage: survey.split for survey in surveys}))
    return training, held_out, surveys, shards, seen


@pytest.mark.parametrize(("name", "text"), FORMS.values(), ids=FORMS)
def test_held_out_replies_are_not_pre_trained_on(tmp_path, name, text):
    (texts, conversations), held_out, _, shards, seen = prepare_both(tmp_path, name, text)
    assert len(held_out) == 8
    # The tokenizer's sample is searched text by text
    for training in (texts, conversations, [] if "|>\n\n" in text else [seen]):
        words = " ".join(words_of("\n".join(training)))
        for turns in held_out:
            assert all(" ".join(words_of(one)) not in words for one in turns)
    # All else is there
    words = " ".join(words_of("\n".join(texts)))
    left = [chat for chat in CHATS if tuple(text for _, text in chat) not in held_out]
    # Pre-training holds out as many texts itself, of which a blank line makes several of one turn here
    own = 8 * (5 if "|>\n\n" in text else 1) + 2 if name == "a.txt" else 0
    assert sum(all(" ".join(words_of(one)) in words for _, one in chat) for chat in left) >= len(left) - own
    assert len(shards[0].held_out) >= 8


def test_what_is_held_out_of_text_is_held_out_of_conversations(tmp_path):
    stories = "".join(json.dumps({"text": turn(number, 99)}) + "\n" for number in range(100, 500))
    (texts, conversations), _, surveys, _, _ = prepare_both(tmp_path, "a.jsonl", stories + as_messages(CHATS))
    text_keys = {content_hash(text) for text in texts}
    keys = surveys[0].split.keys
    assert keys == surveys[1].split.keys
    assert not keys & text_keys
    assert (
        len(conversations) + sum(content_hash([{"role": r, "content": t} for r, t in c]) in keys for c in CHATS) == 80
    )


def test_other_text_is_left_alone(tmp_path):
    stories = "\n\n".join(turn(number, 99) for number in range(100, 300))
    (texts, conversations), held_out, _, shards, _ = prepare_both(tmp_path, "a.txt", stories)
    assert (len(texts), len(conversations), len(held_out)) == (180, 72, 8)
    assert shards[0].passages == 0


def test_the_user_is_told(tmp_path):
    *_, surveys, shards, _ = prepare_both(tmp_path, *FORMS["labelled, without blank lines"])
    words = []
    tokenizer, _ = find_tokenizer(surveys, 300, CONFIG.tokenizer, DataCache(tmp_path / "cache"))
    prepare_stage(surveys[0], shards[0], tokenizer, CONFIG, words.append)
    assert words == ["8 passages are conversations that are held out for fine-tuning: left out here too"]


def test_a_stage_that_is_all_held_out_is_refused(tmp_path):
    (tmp_path / "only").mkdir()
    _, held_out, *_ = prepare_both(tmp_path / "only", *FORMS["records"])
    chats = [chat for chat in CHATS if tuple(text for _, text in chat) in held_out]
    with pytest.raises(DataError, match=r"a\.jsonl: all of it is held out, as the same text is in the other stage"):
        prepare_both(tmp_path, "a.jsonl", as_messages(chats))


def test_without_validation_nothing_is_held_out(tmp_path):
    (texts, conversations), *_ = prepare_both(tmp_path, *FORMS["records"], fraction=0.0)
    assert (len(texts), len(conversations)) == (80, 80)


def test_equal_words_have_equal_hashes():
    conversation = [{"role": "user", "content": "Hi  Pip"}, {"role": "assistant", "content": "Hello!"}]
    assert content_hash("hi pip\nhello!") == content_hash(conversation) == content_hash("Hi Pip Hello! ")
    assert content_hash("hi pip\nhello") != content_hash(conversation)
    assert content_hash("\u00c9t\u00e9  1\x1f") == content_hash("\u00e9t\u00e9\u00a01") != content_hash("ete 1")
    assert content_hash("a\x1cb \t") == content_hash("A\nb")
    assert content_hash("\udc80") != content_hash("\udc81")


LONG = ["how do i water the red beans", "water them in the evening when it is cool"]
SHORT = ["hi there", "hello"]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (
            "A time before.\nHow do I water the red beans? Water them in the evening, when it is cool.\nAfter it all",
            2,
        ),
        ("It says: how do I water the red beans? Anna said: water them in the evening when it is cool. And so on.", 1),
        ("How do I water the red beans?\nWater them in the morning when it is cool.", None),
        (
            "How do I water the red beans?"
            + " no" * (MAX_WORDS_BETWEEN + 1)
            + " water them in the evening when it is cool",
            None,
        ),
        ("how do i water the red beans", None),
        ("A story begins.\nUser: Hi there!\nBot: Hello!\nAnd it goes on.", 2),
        ('"Hi there," said the frog. "Hello!" And they sang a song.', None),
        ("They all say hi there every day, and then they hear: hello", 0),
        ("", None),
    ],
)
def test_conversations_in_text(text, left):
    assert len(" ".join(LONG).split()) >= MIN_WORDS > len(" ".join(SHORT).split())
    parts = list(PassageFinder([LONG, SHORT]).split([text]))
    if left is None:
        assert parts == [(text, False)]
    else:
        assert [found for _, found in parts].count(True) == 1
        assert [found for _, found in parts].count(False) == left
        rest = words_of(" ".join(part for part, _ in parts))
        assert [word for word in words_of(text) if word not in rest] == []


TURNS = st.lists(st.sampled_from(["a", "b c", "d", "a b", "İ ß", ""]), min_size=1, max_size=3)


@settings(deadline=None, max_examples=200)
@given(conversations=st.lists(TURNS, max_size=6), texts=st.lists(st.text("abcd İß\n.", max_size=60), max_size=4))
def test_nothing_of_a_text_is_lost_and_nothing_else_is_found(conversations, texts):
    parts = list(PassageFinder(conversations).split(texts))
    words, kept = words_of("\n".join(texts)), words_of("\n".join(part for part, _ in parts))
    # Marks of up to two words between two conversations go
    assert len(words) - len(kept) <= 2 * (len(parts) + 1)
    wanted = [words for turns in conversations if (words := words_of(" ".join(turns)))]
    for part, found in parts:
        if found:
            assert any(all(word in words_of(part) for word in words) for words in wanted)


@pytest.mark.parametrize("group", [1, 200, 1 << 18])
def test_long_texts_are_searched_some_at_a_time(monkeypatch, group):
    monkeypatch.setattr("tinylm.data.dataset.overlap._GROUP_CHARACTERS", group)
    conversations = [[text for _, text in chat] for chat in CHATS[::10]]
    for between in ("\n\n", "\n"):
        documents = marked("User: ", "Assistant: ", between=between).split("\n\n")
        parts = list(PassageFinder(conversations).split(documents))
        assert [found for _, found in parts].count(True) == 8
        assert words_of(" ".join(documents)) == words_of(" ".join(part for part, _ in parts))


def test_a_conversation_with_blank_lines_is_found_in_several_documents():
    turns = ["how do i plant beans", "first dig a hole\n\nthen put a bean into it\n\nat last water it well"]
    documents = f"One.\n\nUser: {turns[0]}\nPip: {turns[1]}\nUser: and what else is there\nPip: peas\n\nTwo.".split(
        "\n\n"
    )
    parts = list(PassageFinder([turns]).split(documents))
    assert [found for _, found in parts] == [False, True, False, False]
    assert parts[2][0] == "User: and what else is there\nPip: peas"
