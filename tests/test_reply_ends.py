"""What ends a reply and what it may say: stop texts and choices."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinylm.runtime import ChatModel, Generation, SamplingOptions
from tinylm.runtime.constrained_choice import Choices
from tinylm.runtime.generation import TextStream
from tinylm.runtime.sampling import TokenSampler
from tinylm.tokenizer import load_tokenizer


@pytest.fixture(scope="module")
def tokenizer(bundle):
    return load_tokenizer(bundle / "tokenizer.model")


class Reciting:
    """A decoder that says given ids, one after the other, from the end of the prompt on."""

    context_length = 96

    def __init__(self, tokenizer, ids):
        self.vocab_size, self._ids, self.ids, self._said = tokenizer.vocab_size, ids, [], -1

    @property
    def length(self):
        return len(self.ids)

    def truncate(self, length):
        del self.ids[length:]

    def append(self, ids, should_stop=None):  # noqa: ARG002
        self.ids += ids
        self._said += 1
        logits = np.zeros(self.vocab_size, np.float32)
        logits[self._ids[self._said]] = 50
        return logits


def recite(tokenizer, text, **options):
    decoder = Reciting(tokenizer, [*tokenizer.encode(text), tokenizer.eos_id])
    sampler = TokenSampler(SamplingOptions(**{"temperature": 0, **options}), tokenizer.never_sampled)
    generation = Generation(decoder, tokenizer, [tokenizer.bos_id], sampler)
    return generation, list(generation)


@pytest.mark.parametrize(
    ("stop", "reply"),
    [
        (["."], "One, two"),
        ([", "], "One"),
        (["o, t"], "One, two. Three."),
        (["Three", "two"], "One, "),
        (["two. Th", "e, tw"], "On"),
        (["One"], ""),
        (["Three.!"], "One, two. Three."),
        (["\n"], "One, two. Three."),
    ],
)
def test_a_stop_text_ends_the_reply_before_it(tokenizer, stop, reply):
    generation, pieces = recite(tokenizer, "One, two. Three.", stop=stop)
    result = generation.result
    assert "".join(pieces) == result.reply == reply
    assert result.finish_reason == "stop"
    # What stays in the conversation is the text that was shown
    assert tokenizer.decode(result.ids) == reply


@given(
    text=st.text("ab.\n é🌱", max_size=24),
    stop=st.lists(st.text("ab.\n é🌱", min_size=1, max_size=4), max_size=3),
)
@settings(max_examples=300, deadline=None)
def test_the_text_ends_where_the_first_stop_text_begins(tokenizer, text, stop):
    stream, pieces = TextStream(tokenizer, stop), []
    for id_ in tokenizer.encode(text):
        pieces.append(stream.feed(id_))
        if stream.stopped:
            break
    pieces.append(stream.finish())
    places = [text.find(part) for part in stop if part in text]
    joined = "".join(pieces)
    assert stream.stopped == bool(places)
    if places:
        # A later stop text that was complete first may have ended it; never one that was not there
        assert text.startswith(joined)
        assert any(text[len(joined) :].startswith(part) for part in stop)
        assert not any(part in joined for part in stop)
    else:
        assert joined == text


def test_a_reply_that_is_closed_while_text_is_held_back_keeps_what_was_shown(tokenizer):
    decoder = Reciting(tokenizer, [*tokenizer.encode("Yes. No."), tokenizer.eos_id])
    sampler = TokenSampler(SamplingOptions(temperature=0, stop=["s. Never"]), tokenizer.never_sampled)
    generation = Generation(decoder, tokenizer, [tokenizer.bos_id], sampler)
    pieces = iter(generation)
    said = next(pieces)
    pieces.close()
    assert generation.result.reply == said
    assert tokenizer.decode(generation.result.ids) == said


@pytest.mark.parametrize("choices", [["yes", "no"], ["yes", "yes, please"], ["🌱 basil", "basil"], ["a", "b", "c"]])
@pytest.mark.parametrize("temperature", [0, 2])
def test_a_reply_is_one_of_the_choices(bundles, choices, temperature):
    model = ChatModel(bundles["classic", "int8"])
    replies = set()
    for seed in range(12):
        options = SamplingOptions(temperature=temperature, top_k=0, seed=seed, choices=choices)
        chat = model.start_chat(options=options)
        replies.add("".join(chat.send("Well?")))
        assert chat.last_result.finish_reason == "stop"
    assert replies <= set(choices)
    assert temperature == 0 or len(replies) > 1


def test_the_model_decides_among_the_choices(tokenizer):
    wanted = {"left": 3.0, "right": 8.0}
    choices = Choices(tokenizer, list(wanted))
    logits = np.zeros(tokenizer.vocab_size, np.float32)
    for text, logit in wanted.items():
        logits[tokenizer.encode(text)[0]] = logit
    logits[tokenizer.encode("up")[0]] = 20
    choices.restrict(logits)
    assert int(logits.argmax()) == tokenizer.encode("right")[0]
    assert np.isfinite(logits).sum() < 30


@given(choices=st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=4), seed=st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_every_way_through_the_choices_ends_in_one(tokenizer, choices, seed):
    dice = np.random.default_rng(seed)
    constraint, ids = Choices(tokenizer, choices), []
    while True:
        logits = dice.standard_normal(tokenizer.vocab_size).astype(np.float32)
        constraint.restrict(logits)
        token = int(logits.argmax())
        assert np.isfinite(logits[token])
        if token == tokenizer.eos_id:
            break
        ids.append(token)
        constraint.feed(token)
    assert tokenizer.decode(ids) in [choice.encode("utf-8", "replace").decode() for choice in choices]
