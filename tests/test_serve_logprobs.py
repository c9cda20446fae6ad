"""Log-probabilities over HTTP: chats, completions, echo, prompts of token ids, best_of."""

import math

import httpx
import numpy as np
import openai
import pytest

from tinylm.chat_format import encode_prompt
from tinylm.evaluation import Window
from tinylm.runtime import ChatModel
from tinylm.runtime.logprobs import log_softmax
from tinylm.runtime.scoring import decode_logits

TEXT = "Pip lives on a Raspberry Pi. Grüße 🌍"


@pytest.fixture(scope="module")
def model():
    return ChatModel(threads=1)


@pytest.fixture
def client(demo_server):
    with openai.OpenAI(base_url=f"{demo_server.url}/v1", api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
def http(demo_server):
    with httpx.Client(base_url=demo_server.url, timeout=60) as http:
        yield http


def scored(model, ids):
    """The log-probability of each id but the first, decoded one by one in this process."""
    rows = decode_logits(model.session, Window(np.array(ids[:-1]), np.array(ids[1:])))
    return [float(log_softmax(row)[id_]) for row, id_ in zip(rows, ids[1:], strict=True)]


def test_a_chat_s_tokens_have_log_probabilities(client):
    options = {"model": "demo", "messages": [{"role": "user", "content": "Hello! Who are you?"}], "temperature": 0}
    choice = client.chat.completions.create(logprobs=True, top_logprobs=3, **options).choices[0]
    entries = choice.logprobs.content
    assert "".join(entry.token for entry in entries) == choice.message.content
    for entry in entries:
        assert entry.logprob <= 0
        assert bytes(entry.bytes).decode() == entry.token
        assert len(entry.top_logprobs) == 3
        assert entry.top_logprobs[0].logprob == entry.logprob, "greedy: the most likely one was chosen"
    assert client.chat.completions.create(**options).choices[0].logprobs is None
    streamed = []
    for chunk in client.chat.completions.create(logprobs=True, top_logprobs=3, stream=True, **options):
        for part in chunk.choices:
            streamed += part.logprobs.content if part.logprobs else []
    assert streamed == entries


def test_an_echoed_prompt_is_scored_as_the_decode_path_does(client, model):
    text = "Pip lives in the garden."
    ids = model.tokenizer.encode(text)
    answer = client.completions.create(model="demo", prompt=text, max_tokens=0, echo=True, logprobs=2)
    (choice,) = answer.choices
    assert choice.text == text
    assert choice.finish_reason == "length"
    assert answer.usage.completion_tokens == 0
    assert "".join(choice.logprobs.tokens) == text
    assert choice.logprobs.token_logprobs == scored(model, [model.tokenizer.bos_id, *ids])
    assert [text[offset:] for offset in choice.logprobs.text_offset] == [
        "".join(choice.logprobs.tokens[number:]) for number in range(len(ids))
    ]
    for logprob, top in zip(choice.logprobs.token_logprobs, choice.logprobs.top_logprobs, strict=True):
        assert len(top) == 2
        assert max(top.values()) >= logprob


def test_token_ids_are_scored_like_their_text(client, model):
    ids = model.tokenizer.encode(TEXT)
    bos = model.tokenizer.bos_id
    options = {"model": "demo", "max_tokens": 1, "echo": True, "logprobs": 1, "temperature": 0}
    by_text, by_ids = (client.completions.create(prompt=prompt, **options).choices[0] for prompt in (TEXT, ids))
    with_bos = client.completions.create(prompt=[bos, *ids], **options).choices[0]
    assert by_text.text == by_ids.text == with_bos.text
    assert by_text.text.startswith(TEXT)
    assert by_text.logprobs == by_ids.logprobs
    assert len(by_ids.logprobs.tokens) == len(ids) + 1
    assert with_bos.logprobs.tokens == ["<bos>", *by_ids.logprobs.tokens]
    assert with_bos.logprobs.token_logprobs == [None, *by_ids.logprobs.token_logprobs]
    assert with_bos.logprobs.top_logprobs[0] is None


def test_bytes_of_a_character_have_its_place(client, model):
    (choice,) = client.completions.create(model="demo", prompt="a🌍b", max_tokens=0, echo=True, logprobs=0).choices
    logprobs = choice.logprobs
    assert logprobs.top_logprobs is None
    assert "bytes:\\xf0" in logprobs.tokens
    assert logprobs.text_offset[-1] == 2
    assert logprobs.text_offset == sorted(logprobs.text_offset)


def test_several_prompts_have_choices_each(client, model):
    texts = ["Pip lives", "The garden", "Snow"]
    options = {"model": "demo", "max_tokens": 6, "temperature": 0.9, "seed": 2, "logprobs": 1, "echo": True}
    together = client.completions.create(prompt=texts, n=2, **options)
    assert [choice.index for choice in together.choices] == list(range(6))
    alone = [client.completions.create(prompt=text, n=2, **options) for text in texts]
    assert [choice.text for choice in together.choices] == [choice.text for one in alone for choice in one.choices]
    assert together.usage.prompt_tokens == sum(one.usage.prompt_tokens for one in alone)
    by_ids = client.completions.create(prompt=[model.tokenizer.encode(text) for text in texts], n=2, **options)
    assert by_ids.choices == together.choices


def test_a_streamed_completion_is_the_whole_one(client):
    options = {"model": "demo", "prompt": ["Pip lives", "Snow"], "max_tokens": 8, "temperature": 0, "echo": True}
    whole = client.completions.create(logprobs=2, **options)
    texts, tokens, offsets = ["", ""], [[], []], [[], []]
    for chunk in client.completions.create(logprobs=2, stream=True, **options):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
            if choice.logprobs:
                tokens[choice.index] += choice.logprobs.tokens
                offsets[choice.index] += choice.logprobs.text_offset
    assert texts == [choice.text for choice in whole.choices]
    assert tokens == [choice.logprobs.tokens for choice in whole.choices]
    assert offsets == [choice.logprobs.text_offset for choice in whole.choices]
    nothing = list(client.completions.create(**{**options, "max_tokens": 0}, stream=True))
    assert [choice.text for chunk in nothing for choice in chunk.choices if choice.text] == options["prompt"]


def test_best_of_returns_the_likeliest(client):
    options = {"model": "demo", "prompt": "Pip", "max_tokens": 10, "temperature": 1.5, "seed": 3, "logprobs": 0}

    def likelihood(choice):
        return sum(choice.logprobs.token_logprobs) / len(choice.logprobs.token_logprobs)

    every = client.completions.create(n=6, **options)
    best = client.completions.create(n=2, best_of=6, **options)
    expected = sorted(every.choices, key=likelihood, reverse=True)[:2]
    assert [choice.text for choice in best.choices] == [choice.text for choice in expected]
    assert best.usage == every.usage


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"best_of": 1, "n": 2}, "best_of"),
        ({"best_of": 9}, "best_of"),
        ({"best_of": 2, "stream": True}, "best_of"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [1, "a"]}, "prompt"),
        ({"prompt": ["a", [1]]}, "prompt"),
        ({"prompt": [99_999]}, "prompt"),
        ({"prompt": [-1]}, "prompt[0]"),
        ({"prompt": ["a"] * 300}, "prompt"),
        ({"prompt": [[5] * 300]}, "prompt"),
        ({"logprobs": True}, "logprobs"),
        ({"logprobs": 21}, "logprobs"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_is_wrong_in_a_completion_is_named(wrong, param, http):
    answer = http.post("/v1/completions", json={"prompt": "a", **wrong})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param


def test_an_impossible_token_has_a_number_that_json_knows(http, model):
    never = {str(model.tokenizer.eos_id): -100}
    answer = http.post("/v1/completions", json={"prompt": "a", "logprobs": 20, "max_tokens": 3, "logit_bias": never})
    logprobs = answer.json()["choices"][0]["logprobs"]
    assert all(math.isfinite(value) for top in logprobs["top_logprobs"] for value in top.values())


def test_texts_become_token_ids_and_back(http, model):
    tokenizer = model.tokenizer
    ids = tokenizer.encode(TEXT)

    def tokens(**body):
        answer = http.post("/tokenize", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["tokens"]

    assert tokens(prompt=TEXT) == [tokenizer.bos_id, *ids]
    assert tokens(prompt=TEXT, add_special_tokens=False) == ids
    assert tokens(prompt="<eos>", add_special_tokens=False) == [tokenizer.eos_id]
    assert tokens(prompt="a <eos>", add_special_tokens=False) == tokenizer.encode("a <eos>")
    messages = [{"role": "user", "content": "Hello"}]
    assert tokens(messages=messages) == encode_prompt(tokenizer, messages)
    assert http.post("/detokenize", json={"tokens": [tokenizer.bos_id, *ids]}).json() == {"prompt": TEXT}
    strings = http.post("/tokenize", json={"prompt": "a🌍", "return_token_strs": True}).json()["token_strs"]
    assert strings[0] == "<bos>"
    info = http.get("/tokenizer_info").json()
    assert (info["bos_token"], info["eos_token"], info["vocab_size"]) == ("<bos>", "<eos>", tokenizer.vocab_size)
    for path, body, param in (
        ("/tokenize", {}, "prompt"),
        ("/tokenize", {"prompt": "a", "messages": messages}, "prompt"),
        ("/detokenize", {"tokens": [99_999]}, "tokens"),
        ("/detokenize", {}, "tokens"),
    ):
        answer = http.post(path, json=body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_the_end_of_a_completion_is_a_token_too(client, model):
    """`lm-evaluation-harness` asks for one token more than it scores, and drops the last of all."""
    eos = model.tokenizer.eos_id
    options = {"model": "demo", "prompt": "Pip.", "max_tokens": 1, "echo": True, "logprobs": 1}
    (choice,) = client.completions.create(logit_bias={str(eos): 100}, **options).choices
    assert choice.text == "Pip."
    assert choice.finish_reason == "stop"
    tokens = choice.logprobs.tokens
    assert tokens == [*tokens[:-1], "<eos>"]
    assert "".join(tokens[:-1]) == "Pip."
    streamed = client.completions.create(logit_bias={str(eos): 100}, stream=True, **options)
    assert [
        token for chunk in streamed for one in chunk.choices if one.logprobs for token in one.logprobs.tokens
    ] == tokens
