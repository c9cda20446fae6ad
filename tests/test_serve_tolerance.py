"""What clients send beside what this server has: passed over and named, or refused by a strict server."""

import logging
from collections import Counter

import httpx
import openai
import pytest

from tinylm.chat_format import encode_prompt
from tinylm.runtime.demo import DEMO_BUNDLE
from tinylm.runtime.server.dispatch import Dispatcher, Limits
from tinylm.runtime.server.tolerance import Ignored, unsupported
from tinylm.tokenizer import load_tokenizer

CHAT = "/v1/chat/completions"
HELLO = {"messages": [{"role": "user", "content": "Hello! Who are you?"}], "temperature": 0}
TOOL = {"type": "function", "function": {"name": "turn_on", "parameters": {}}}


@pytest.fixture
def http(demo_server):
    with httpx.Client(base_url=demo_server.url, timeout=60) as http:
        yield http


@pytest.fixture(scope="module")
def strict(start_server):
    with start_server("--strict") as server, httpx.Client(base_url=server.url, timeout=60) as http:
        yield http


def said(response):
    assert response.status_code == 200, response.text
    return response.json()["choices"][0]["message"]["content"]


PASSED_OVER = [
    ({"tools": [TOOL], "tool_choice": "auto"}, "tools"),
    ({"tools": [TOOL], "tool_choice": "none"}, "tools"),
    ({"functions": [{"name": "f"}]}, "functions"),
    ({"reasoning_effort": "low", "verbosity": "high", "store": True}, "reasoning_effort, verbosity, store"),
    ({"typical_p": 0.9, "chat_template_kwargs": {"a": 1}}, "typical_p, chat_template_kwargs"),
    ({"stream_options": {"chunks": 3}, "stream": True}, "stream_options.chunks"),
    ({"messages": [{**HELLO["messages"][0], "name": "Ann", "tool_calls": []}]}, "messages[].name"),
    (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "Hello! Who are you?", "cache_control": {"type": "ephemeral"}}
                    ],
                }
            ]
        },
        "messages[].content[].cache_control",
    ),
    ({"sp\näce": 1}, r"sp\n\xe4ce"),
]


@pytest.mark.parametrize(("request_", "named"), PASSED_OVER, ids=lambda value: str(value)[:50])
def test_what_does_not_change_the_meaning_is_passed_over_and_named(request_, named, http, strict):
    answer = http.post(CHAT, json={**HELLO, **request_})
    assert answer.status_code == 200, answer.text
    assert request_.get("stream") or said(answer) == said(http.post(CHAT, json=HELLO))
    assert answer.headers["x-tinylm-ignored"] == named
    refusal = strict.post(CHAT, json={**HELLO, **request_})
    assert refusal.status_code == 400
    assert refusal.json()["error"]["code"] == "unsupported_parameter"


def test_nothing_is_named_where_nothing_was_passed_over(http):
    answer = http.post(CHAT, json={**HELLO, "user": "me", "n": 1, "tools": [], "seed": None})
    assert "x-tinylm-ignored" not in answer.headers


def test_a_stream_names_it_too(http):
    with http.stream("POST", CHAT, json={**HELLO, "tools": [TOOL], "stream": True}) as answer:
        assert answer.headers["x-tinylm-ignored"] == "tools"


@pytest.mark.parametrize(
    "same",
    [
        {"max_tokens": 16.0},
        {"top_k": 40.0},
        {"n": 1.0},
        {"seed": 3.0},
        {"max_tokens": -1},
        {"top_k": -1},
        {"top_p": 0},
    ],
    ids=str,
)
def test_numbers_as_other_servers_take_them(same, http, strict):
    assert said(http.post(CHAT, json={**HELLO, **same})) == said(http.post(CHAT, json=HELLO))
    assert strict.post(CHAT, json={**HELLO, **same}).status_code == 400


def prompt_tokens(http, messages):
    answer = http.post(CHAT, json={"messages": messages, "max_tokens": 1})
    assert answer.status_code == 200, answer.text
    return answer.json()["usage"]["prompt_tokens"]


def test_system_messages_become_one_at_the_beginning(http, strict):
    user = HELLO["messages"][0]
    system = [{"role": "system", "content": "Be brief."}, {"role": "developer", "content": "Be kind."}]
    merged = [{"role": "system", "content": "Be brief.\n\nBe kind."}, user]
    one = http.post(CHAT, json={"messages": merged, "temperature": 0})
    for messages in ([*system, user], [system[0], user, system[1]]):
        answer = http.post(CHAT, json={"messages": messages, "temperature": 0})
        assert said(answer) == said(one)
        assert answer.json()["usage"] == {**one.json()["usage"], "prompt_tokens_details": {"cached_tokens": 0}}
        moved = messages[-1]["role"] != "user"
        assert ("x-tinylm-ignored" in answer.headers) == moved
        assert strict.post(CHAT, json={"messages": messages}).json()["error"]["param"].endswith(".role")


def test_an_assistant_without_content_said_nothing(http, strict):
    user = HELLO["messages"][0]
    for silent in ({"role": "assistant"}, {"role": "assistant", "content": None}):
        messages = [user, silent, user]
        conversation = [user, {"role": "assistant", "content": ""}, user]
        tokenizer = load_tokenizer(DEMO_BUNDLE / "tokenizer.model")
        assert prompt_tokens(http, messages) == len(encode_prompt(tokenizer, conversation))
        assert strict.post(CHAT, json={"messages": messages}).json()["error"]["param"] == "messages[1].content"


def test_an_assistant_s_turn_at_the_end_is_continued(http, strict):
    whole = said(http.post(CHAT, json=HELLO))
    words = whole.split(" ")
    begun = " ".join(words[: len(words) // 2])
    messages = [*HELLO["messages"], {"role": "assistant", "content": begun}]
    assert begun + said(http.post(CHAT, json={**HELLO, "messages": messages})) == whole
    assert strict.post(CHAT, json={**HELLO, "messages": messages}).json()["error"]["param"] == "messages[1].role"


def test_n_gives_different_replies_and_the_first_is_that_of_one(http):
    options = {**HELLO, "temperature": 1.5, "seed": 5, "max_tokens": 12}
    several = http.post(CHAT, json={**options, "n": 4}).json()
    assert [choice["index"] for choice in several["choices"]] == [0, 1, 2, 3]
    texts = [choice["message"]["content"] for choice in several["choices"]]
    assert texts[0] == said(http.post(CHAT, json=options))
    assert len(set(texts)) > 1
    one = http.post(CHAT, json=options).json()["usage"]
    assert several["usage"]["prompt_tokens"] == one["prompt_tokens"]
    assert several["usage"]["completion_tokens"] > one["completion_tokens"]


def test_n_streams(demo_server):
    with openai.OpenAI(base_url=f"{demo_server.url}/v1", api_key="any", max_retries=0) as client:
        options = {"model": "demo", **HELLO, "temperature": 1.5, "seed": 5, "max_tokens": 12, "n": 3}
        whole = client.chat.completions.create(**options)
        texts, ends = {}, {}
        for chunk in client.chat.completions.create(**options, stream=True):
            for choice in chunk.choices:
                texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
                ends[choice.index] = choice.finish_reason or ends.get(choice.index)
    assert [texts[index] for index in range(3)] == [choice.message.content for choice in whole.choices]
    assert [ends[index] for index in range(3)] == [choice.finish_reason for choice in whole.choices]


def most_frequent(text):
    """How much of a text is its most frequent three letters."""
    pieces = [text[start : start + 3] for start in range(len(text) - 2)]
    return max(Counter(pieces).values()) / len(pieces)


def test_penalties_change_a_reply_s_repetition(http):
    eos = {"2": -100}
    options = {**HELLO, "temperature": 0, "max_tokens": 60, "logit_bias": eos}
    plain = said(http.post(CHAT, json=options))
    varied = said(http.post(CHAT, json={**options, "frequency_penalty": 2, "presence_penalty": 2}))
    assert most_frequent(varied) < most_frequent(plain)


def test_each_name_is_logged_once(caplog):
    dispatcher = Dispatcher(None, None, None, Limits(1, 1))
    with caplog.at_level(logging.WARNING, "tinylm.serve"):
        for names in (["tools"], ["tools", "store\n"], ["store\n"]):
            dispatcher.note(Ignored(names))
    assert [record.getMessage() for record in caplog.records] == [
        "Passed over in requests: tools. --strict refuses it.",
        r"Passed over in requests: store\n. --strict refuses it.",
    ]


def test_names_in_messages_stay_on_one_line_and_short():
    error = unsupported("a\n" * 1000)
    assert "\n" not in error.message
    assert len(error.message) < 400
    assert unsupported("x", value=True).message == "x: this value of it is not supported; leave it out"
