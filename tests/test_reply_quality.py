"""The replies of small models in held-out conversations, by torch and by the runtime."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinylm.chat_format import encode_prompt, encode_turn
from tinylm.config import TokenizerConfig
from tinylm.data.dataset.tokens import tokenize_all
from tinylm.measured_model import open_model
from tinylm.quality import evaluate_replies
from tinylm.reply_quality import REPLY_TOKENS, ReplyModel, conversations_of, fitting_prompt, measure_replies
from tinylm.reply_ranking import CANDIDATES
from tinylm.runtime.chat import reply_to
from tinylm.runtime.sampling import SamplingOptions
from tinylm.tokenizer import train_tokenizer
from tinylm.words import words_of

NAMES = ["Ann", "Bob", "Cid", "Dot", "Eve", "Fay", "Gus", "Hal", "Ida", "Jim", "Kay", "Leo"]
CHATS = [
    [
        {"role": "user", "content": f"Hello, I am {name}!"},
        {"role": "assistant", "content": f"Hello {name}, I am Pip."},
        {"role": "user", "content": "Who am I?"},
        {"role": "assistant", "content": f"You are {name}."},
    ]
    for name in NAMES
]


@pytest.fixture(scope="module")
def tokenizer():
    texts = [message["content"] for chat in CHATS for message in chat]
    return train_tokenizer(texts, 320, TokenizerConfig())


@pytest.fixture(scope="module")
def chats(tmp_path_factory):
    path = tmp_path_factory.mktemp("chats") / "chats.jsonl"
    path.write_text("".join(json.dumps({"messages": chat}) + "\n" for chat in CHATS))
    return path


class Oracle:
    """A decoder that says what it was told, and ranks by a function of conversation and reply.

    Args:
        tokenizer: of the model.
        reply: what it replies to a prompt of token ids.
        loss: of a continuation of a prompt, both token ids.
    """

    def __init__(self, tokenizer, reply="Yes.", loss=lambda _prompt, _ids: 1.0, context_length=200):
        self._tokenizer, self._reply, self._loss = tokenizer, tokenizer.encode(reply), loss
        self.context_length, self.vocab_size = context_length, tokenizer.vocab_size
        self.ids = []

    @property
    def length(self):
        return len(self.ids)

    def truncate(self, length):
        del self.ids[length:]

    def append(self, ids):
        self.ids += ids
        assert self.length <= self.context_length
        said = self.ids[::-1].index(self._tokenizer.role_ids["assistant"])
        logits = np.zeros(self.vocab_size, np.float32)
        logits[self._reply[said] if said < len(self._reply) else self._tokenizer.eos_id] = 9
        return logits

    def continuation_losses(self, continuations):
        assert self.ids[-1] == self._tokenizer.role_ids["assistant"]
        return [self._loss(list(self.ids), list(ids)) for ids in continuations]

    @property
    def model(self):
        return ReplyModel(self, self.continuation_losses, self._tokenizer)


def test_who_knows_the_true_reply_finds_it(tokenizer):
    true = {
        tuple(encode_prompt(tokenizer, chat[:place])): encode_turn(tokenizer, chat[place])[1:]
        for chat in CHATS
        for place in (1, 3)
    }
    knows = Oracle(tokenizer, loss=lambda prompt, ids: len(ids) * (1 if ids == true[tuple(prompt)] else 2))
    errs = Oracle(tokenizer, loss=lambda prompt, ids: len(ids) * (2 if ids == true[tuple(prompt)] else 1))
    assert measure_replies(knows.model, CHATS).hits == (1.0,) * 24
    assert measure_replies(errs.model, CHATS).hits == (0.0,) * 24
    result = measure_replies(knows.model, CHATS)
    assert (result.replies, result.hits_at_1, result.standard_error) == (24, 1.0, 0.0)
    assert result.baselines["chance"] == pytest.approx(0.1)
    # The names are in the conversation, and each in one alone
    assert result.baselines["word_overlap"] == 1


def test_scores_are_the_mean_of_a_reply_s_tokens(tokenizer):
    # Each token costs as much, so that only a sum would prefer short replies
    result = measure_replies(Oracle(tokenizer, loss=lambda _prompt, ids: 0.5 * len(ids)).model, CHATS)
    assert result.hits == pytest.approx([1 / CANDIDATES] * 24)
    assert result.standard_error == pytest.approx(0)


def test_repetition_and_copies_by_hand(tokenizer):
    model = Oracle(tokenizer, "You are You are You are Pip").model
    result = measure_replies(model, CHATS, training_texts=["No. you ARE, you", "Hello Bob, I am Bob.", "are pip are"])
    # you are you are, are you are you, you are you are, are you are pip
    assert result.repetition == pytest.approx(1 / 4)
    assert result.repetition_of_people == 0
    assert result.copied.of_model == ("you", "are", "you")
    assert result.copied.of_people == ("hello", "bob", "i", "am")
    assert result.as_json()["longest_copied_run"] == 3
    assert measure_replies(model, CHATS).as_json()["longest_copied_run"] is None


def test_few_different_replies_are_not_ranked_but_generated(tokenizer):
    result = measure_replies(Oracle(tokenizer, "I am Pip, hello!").model, CHATS[:3])
    assert (result.replies, result.hits, result.hits_at_1, result.standard_error) == (6, (), None, None)
    assert result.as_json()["hits_at_1_of_10_baseline"] is None
    assert result.repetition == 0
    assert measure_replies(Oracle(tokenizer).model, [chat[1:2] for chat in CHATS]) is None
    assert measure_replies(Oracle(tokenizer).model, []) is None


def test_the_deadline(tokenizer):
    seen = []
    result = measure_replies(
        Oracle(tokenizer).model, CHATS, training_texts=["yes"], deadline=0, progress=lambda *what: seen.append(what)
    )
    assert 2 <= result.replies < 24
    assert result.copied is None
    assert seen[-1] == ("replies", result.replies, 24)


def test_long_replies_and_conversations(tokenizer):
    long = [
        [
            {"role": "system", "content": "Be Pip. " * 9},
            *[{"role": "user", "content": "Who am I? " * 9}, {"role": "assistant", "content": f"Hello {name} " * 99}]
            * 3,
        ]
        for name in NAMES
    ]
    for context_length in (16, 64, 300):
        decoder = Oracle(tokenizer, "Pip " * 200, context_length=context_length)
        result = measure_replies(decoder.model, long, limit=5)
        assert result.replies == 5
        assert decoder.length <= context_length
        assert len(tokenizer.encode("Pip " * 200)) > REPLY_TOKENS


@settings(deadline=None, max_examples=150)
@given(
    texts=st.lists(st.integers(0, 12).map(lambda count: "Pip " * count), min_size=1, max_size=6),
    with_system=st.booleans(),
    most=st.integers(3, 60),
)
def test_a_prompt_keeps_the_system_message_and_the_end(texts, with_system, most, tokenizer):
    roles = ["system" if with_system else "user", *["assistant", "user"] * 3]
    conversation = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]
    prompt = fitting_prompt(tokenizer, conversation, most)
    whole = encode_prompt(tokenizer, conversation)
    assert len(prompt) <= most
    assert prompt[-1] == tokenizer.role_ids["assistant"]
    if len(whole) <= most and len(encode_turn(tokenizer, conversation[0])) <= most // 2:
        assert prompt == whole
    if with_system:
        assert prompt[:2] == whole[:2]
    # All but the first role symbol of what is kept is the end of the conversation
    opening = 1 + (min(len(encode_turn(tokenizer, conversation[0])), most // 2) if with_system else 0)
    kept = prompt[opening + 1 :]
    assert whole[len(whole) - len(kept) :] == kept


def test_conversations_come_back_from_token_ids(tokenizer):
    odd = [[{"role": "system", "content": " \n"}, {"role": "user", "content": "a\u2581 \U0001f44d"}], CHATS[0]]
    sequences = tokenize_all([*odd, "a document <user>", ""], tokenizer)
    assert conversations_of(sequences, tokenizer) == odd


@pytest.mark.parametrize("arch", ["classic", "modern"])
def test_torch_and_runtime_measure_alike(arch, runs, bundles, chats):
    results = [evaluate_replies(path, [chats]) for path in (runs[arch], bundles[arch, "fp32"], bundles[arch, "int8"])]
    run, fp32, int8 = results
    assert run.hits == fp32.hits
    assert run.repetition == pytest.approx(fp32.repetition, abs=0.1)
    assert sum(a != b for a, b in zip(run.hits, int8.hits, strict=True)) <= 3
    assert run.baselines == fp32.baselines == int8.baselines
    assert len(run.hits) == 24


@pytest.mark.parametrize("kind", ["run", "bundle"])
def test_losses_of_continuations_are_those_of_windows(kind, runs, bundles):
    model = open_model(runs["modern"] if kind == "run" else bundles["modern", "int8"])
    prompt, continuations = [1, 4, 30, 31, 5], [[40, 41, 42], [43], [44, 2, 45, 46, 47]]
    model.decoder.truncate(0)
    model.decoder.append(prompt)
    expected = []
    found = list(model.continuation_losses(continuations))
    assert list(model.decoder.ids) == prompt
    again = list(model.continuation_losses(continuations[::-1]))
    for ids in continuations:
        inputs = np.array([*prompt, *ids[:-1]])
        targets = np.array([*[-100] * (len(prompt) - 1), *ids])
        expected.append(model.losses([SimpleNamespace(inputs=inputs, targets=targets)]))
    assert found == pytest.approx(expected, rel=1e-4)
    assert again == pytest.approx(expected[::-1], rel=1e-4)


def test_what_a_model_copies_is_found_in_its_training_data(chats, tmp_path, repository):
    demo = repository / "runtime" / "demo"
    model = open_model(demo)
    greedy = SamplingOptions(temperature=0, max_new_tokens=REPLY_TOKENS)
    said = words_of(reply_to(model.decoder, model.tokenizer, CHATS[0][:1], greedy))
    assert len(said) > 3
    nothing, copies = tmp_path / "nothing.txt", tmp_path / "copies.txt"
    nothing.write_text("Zyx wvu.")
    copies.write_text(f"Zyx. {' '.join(said).upper()} zyx")
    assert evaluate_replies(demo, [chats], train_data=[nothing]).copied.of_model == ()
    assert evaluate_replies(demo, [chats], train_data=[nothing, copies]).copied.of_model == tuple(said)


def test_a_run_is_compared_with_its_own_data(runs, chats):
    lines = []
    assert evaluate_replies(runs["classic"], [chats], notify=lines.append).copied is not None
    assert [line for line in lines if "not compared" in line] == []
