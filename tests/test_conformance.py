"""What a client may expect of any OpenAI-compatible server, asked of a real one by the official client and plain HTTP.

TINYLM_CONFORMANCE_URL (as http://127.0.0.1:8000/v1) asks another server than the demo model's, with the key in
TINYLM_CONFORMANCE_KEY if it wants one.
"""

import concurrent.futures
import json
import os

import httpx
import openai
import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

URL = os.environ.get("TINYLM_CONFORMANCE_URL")
KEY = os.environ.get("TINYLM_CONFORMANCE_KEY", "none")
HELLO = [{"role": "user", "content": "Hello! Who are you?"}]
GREEDY = {"temperature": 0, "seed": 1}


@pytest.fixture(scope="module")
def url(request):
    return URL or f"{request.getfixturevalue('demo_server').url}/v1"


@pytest.fixture(scope="module")
def client(url):
    with openai.OpenAI(base_url=url, api_key=KEY, max_retries=0, timeout=120) as client:
        yield client


@pytest.fixture(scope="module")
def http(url):
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {KEY}"}, timeout=120) as http:
        yield http


@pytest.fixture(scope="module")
def model(client):
    return client.models.list().data[0].id


@pytest.fixture(scope="module")
def reply(client, model):
    """The whole greedy reply, of which others are parts or other forms."""
    return client.chat.completions.create(model=model, messages=HELLO, max_tokens=24, **GREEDY)


def test_there_is_a_model(client, model):
    assert model
    assert all(one.object == "model" for one in client.models.list().data)


def test_a_whole_chat_reply(reply, model):
    assert isinstance(reply, ChatCompletion)
    assert reply.object == "chat.completion"
    assert reply.id
    assert reply.created > 0
    assert reply.model == model
    (choice,) = reply.choices
    assert choice.index == 0
    assert choice.message.role == "assistant"
    assert choice.message.content
    assert choice.finish_reason in {"stop", "length"}


def test_usage_adds_up(reply):
    usage = reply.usage
    assert usage.prompt_tokens > 0
    assert 0 < usage.completion_tokens <= 25
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_a_streamed_chat_reply_is_the_whole_one(client, model, reply):
    chunks = list(client.chat.completions.create(model=model, messages=HELLO, max_tokens=24, stream=True, **GREEDY))
    assert all(isinstance(chunk, ChatCompletionChunk) for chunk in chunks)
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk.id for chunk in chunks}) == 1
    choices = [choice for chunk in chunks for choice in chunk.choices]
    assert choices[0].delta.role == "assistant"
    assert "".join(choice.delta.content or "" for choice in choices) == reply.choices[0].message.content
    assert [choice.finish_reason for choice in choices if choice.finish_reason] == [reply.choices[0].finish_reason]


def test_the_wire_form_of_a_stream(http, model):
    wanted = {"model": model, "messages": HELLO, "max_tokens": 5, "stream": True}
    with http.stream("POST", "/chat/completions", json=wanted) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in response.iter_lines() if line and not line.startswith(":")]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    for line in lines[:-1]:
        assert isinstance(json.loads(line.removeprefix("data: "))["choices"], list)


def test_max_tokens_end_a_reply(client, model):
    reply = client.chat.completions.create(model=model, messages=HELLO, max_tokens=2, **GREEDY)
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage.completion_tokens == 2


def test_a_stop_text_ends_a_reply_and_is_no_part_of_it(client, model, reply):
    text = reply.choices[0].message.content
    stop = text[len(text) // 2 :][:3]
    for stops in (stop, [stop, "never said"]):
        stopped = client.chat.completions.create(model=model, messages=HELLO, max_tokens=24, stop=stops, **GREEDY)
        assert stopped.choices[0].finish_reason == "stop"
        assert stopped.choices[0].message.content == text[: text.index(stop)]


def test_equal_seeds_give_equal_replies(client, model):
    def say(seed):
        options = {"temperature": 1.5, "seed": seed, "max_tokens": 24}
        return client.chat.completions.create(model=model, messages=HELLO, **options).choices[0].message.content

    assert say(7) == say(7)
    assert len({say(seed) for seed in range(5)}) > 1
    # As elsewhere, -1 is a random seed
    assert len({say(-1) for _ in range(5)}) > 1


def test_a_top_p_of_zero_takes_the_most_likely_token(client, model, reply):
    said = client.chat.completions.create(model=model, messages=HELLO, max_tokens=24, temperature=1.5, top_p=0)
    assert said.choices[0].message.content == reply.choices[0].message.content


def test_a_conversation_of_several_turns(client, model):
    messages = [
        {"role": "system", "content": "You are a friendly helper."},
        *HELLO,
        {"role": "assistant", "content": "I am Pip."},
        {"role": "user", "content": "What did you say?"},
    ]
    short = client.chat.completions.create(model=model, messages=HELLO, max_tokens=5).usage.prompt_tokens
    assert client.chat.completions.create(model=model, messages=messages, max_tokens=5).usage.prompt_tokens > short


def test_a_completion_whole_and_streamed(client, model):
    wanted = {"model": model, "prompt": "Pip lives", "max_tokens": 12, **GREEDY}
    whole = client.completions.create(**wanted)
    assert isinstance(whole, Completion)
    assert whole.object == "text_completion"
    assert whole.choices[0].text
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    chunks = list(client.completions.create(stream=True, **wanted))
    assert all(isinstance(chunk, Completion) for chunk in chunks)
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == whole.choices[0].text


def test_too_long_a_prompt_is_refused_as_such(client, model):
    with pytest.raises(openai.BadRequestError) as refusal:
        client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Pip. " * 20_000}])
    assert refusal.value.code == "context_length_exceeded"


@pytest.mark.parametrize(
    "wanted",
    [
        {"messages": "hello"},
        {"messages": [{"role": "nobody", "content": "hello"}]},
        {"messages": [{"role": "user"}]},
        {"messages": HELLO, "temperature": "hot"},
        {"messages": HELLO, "max_tokens": "many"},
        {"messages": HELLO, "stream": "perhaps"},
    ],
    ids=str,
)
def test_what_is_wrong_is_refused_with_a_structured_error(wanted, http, model):
    response = http.post("/chat/completions", json={"model": model, **wanted})
    # 400, but llama-cpp-python calls its clients' mistakes its own: 500
    assert response.status_code >= 400
    assert response.json()["error"]["message"]


def test_a_body_that_is_no_json_is_refused(http):
    # How it says so differs: llama-cpp-python's server answers without an error object
    response = http.post("/chat/completions", content=b"{", headers={"content-type": "application/json"})
    assert response.status_code >= 400


def test_a_client_that_leaves_leaves_the_server_usable(http, model, client):
    wanted = {"model": model, "messages": HELLO, "stream": True}
    for _ in range(3):
        with http.stream("POST", "/chat/completions", json=wanted) as response:
            next(response.iter_bytes())
    assert client.chat.completions.create(model=model, messages=HELLO, max_tokens=3).choices


def test_replies_at_the_same_time_are_those_of_one_after_the_other(client, model):
    def say(number):
        messages = [{"role": "user", "content": f"What is {number} and {number + 1}?"}]
        reply = client.chat.completions.create(model=model, messages=messages, max_tokens=16, **GREEDY)
        return reply.choices[0].message.content

    alone = [say(number) for number in range(6)]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        assert list(pool.map(say, range(6))) == alone
