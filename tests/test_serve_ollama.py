"""Ollama's API, by its official client and as others call it."""

import json
from contextlib import closing

import httpx
import ollama
import pytest

from tinylm.runtime.server.openapi import document

HELLO = [{"role": "user", "content": "Hello! Who are you?"}]
GREEDY = {"temperature": 0}


@pytest.fixture
def client(demo_server):
    with closing(ollama.Client(host=demo_server.url, timeout=60)) as client:
        yield client


@pytest.fixture
def http(demo_server):
    with httpx.Client(base_url=demo_server.url, timeout=60) as http:
        yield http


@pytest.fixture
def reply(http):
    """What OpenAI's API says to the same."""
    answer = http.post("/v1/chat/completions", json={"messages": HELLO, **GREEDY}).json()
    return answer["choices"][0]["message"]["content"]


def test_models(client, http):
    (model,) = client.list().models
    assert model.model == "demo:latest"
    assert model.size > 1_000_000
    assert len(model.digest) == 64
    for name in ("demo", "demo:latest"):
        shown = client.show(name)
        assert shown.capabilities == ["completion"]
        assert shown.modelinfo["tinylm.context_length"] == 256
        assert shown.details.parameter_size == "2.6M"
    (running,) = client.ps().models
    assert running.model == "demo:latest"
    assert running.context_length == 256
    major, minor, _ = http.get("/api/version").json()["version"].split(".")
    assert (int(major), int(minor)) >= (0, 6)
    # Older clients name it so
    assert http.post("/api/show", json={"name": "demo"}).status_code == 200


def test_a_chat_whole_and_streamed(client, reply):
    whole = client.chat("demo", HELLO, options=GREEDY)
    assert whole.message.content == reply
    assert (whole.done, whole.done_reason) == (True, "stop")
    assert whole.prompt_eval_count > 0
    assert whole.eval_count > 0
    assert whole.total_duration >= whole.eval_duration > 0
    parts = list(client.chat("demo:latest", HELLO, options=GREEDY, stream=True))
    assert "".join(part.message.content for part in parts) == reply
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert parts[-1].eval_count == whole.eval_count
    assert {part.model for part in parts} == {"demo:latest"}


def test_a_stream_is_lines_of_json_and_the_default(http):
    # As curl sends it in Ollama's own documentation
    with http.stream(
        "POST",
        "/api/chat",
        content=json.dumps({"model": "demo", "messages": HELLO}),
        headers={"content-type": "application/x-www-form-urlencoded"},
    ) as answer:
        assert answer.headers["content-type"] == "application/x-ndjson"
        lines = [json.loads(line) for line in answer.iter_lines()]
    assert lines[-1]["done"]
    assert all(line["created_at"].endswith("Z") for line in lines)


def test_generate_replies_to_a_prompt_and_goes_on_from_its_context(client, reply):
    first = client.generate("demo", HELLO[0]["content"], options=GREEDY)
    assert first.response == reply
    second = client.generate("demo", "And then?", context=first.context, options=GREEDY)
    messages = [*HELLO, {"role": "assistant", "content": reply}, {"role": "user", "content": "And then?"}]
    assert second.response == client.chat("demo", messages, options=GREEDY).message.content
    assert second.context[: len(first.context)] == first.context


def test_generate_with_a_system_message(client):
    system = "You are terse."
    messages = [{"role": "system", "content": system}, *HELLO]
    expected = client.chat("demo", messages, options=GREEDY).message.content
    assert client.generate("demo", HELLO[0]["content"], system=system, options=GREEDY).response == expected


def test_raw_continues_a_text(client, http):
    body = {"prompt": "Pip lives", "temperature": 0, "max_tokens": 12}
    expected = http.post("/v1/completions", json=body).json()["choices"][0]["text"]
    options = {**GREEDY, "num_predict": 12}
    answer = client.generate("demo", "Pip lives", raw=True, options=options)
    assert (answer.response, answer.context) == (expected, None)


def test_a_request_without_a_prompt_loads_the_model(client):
    assert client.chat("demo", []).done_reason == "load"
    assert client.generate("demo", "", keep_alive=0).done_reason == "load"


@pytest.mark.parametrize(
    ("options", "check"),
    [
        ({"num_predict": 3}, lambda reply: reply.eval_count == 3 and reply.done_reason == "length"),
        ({"num_predict": -1}, lambda reply: reply.done_reason == "stop"),
        ({"num_predict": -2, "seed": -1}, lambda reply: reply.done_reason == "stop"),
        ({"stop": [" "]}, lambda reply: " " not in reply.message.content),
        ({"top_k": 1, "temperature": 2.0}, lambda reply: "Pip" in reply.message.content),
        ({"repeat_penalty": 0, "temperature": 0}, lambda reply: "Pip" in reply.message.content),
    ],
    ids=lambda value: "reply" if callable(value) else str(value),
)
def test_options(options, check, client):
    assert check(client.chat("demo", HELLO, options={"temperature": 0.1, **options}))


def test_equal_seeds_give_equal_replies(client):
    def say(seed):
        return client.chat("demo", HELLO, options={"temperature": 1.5, "seed": seed}).message.content

    assert say(4) == say(4)
    assert len({say(seed) for seed in range(6)}) > 1


def test_log_probabilities(client):
    whole = client.chat("demo", HELLO, options=GREEDY, logprobs=True, top_logprobs=2)
    assert "".join(entry.token for entry in whole.logprobs) == whole.message.content
    assert all(len(entry.top_logprobs) == 2 for entry in whole.logprobs)


def test_what_is_passed_over_is_named(http, reply):
    body = {
        "model": "demo",
        "messages": [{**HELLO[0], "images": [], "thinking": "hm"}],
        "options": {**GREEDY, "num_ctx": 8192, "mirostat": 1},
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "think": True,
        "keep_alive": "5m",
        "format": "",
        "stream": False,
    }
    answer = http.post("/api/chat", json=body)
    assert answer.json()["message"]["content"] == reply
    named = set(answer.headers["x-tinylm-ignored"].split(", "))
    assert named == {"messages[].thinking", "options.num_ctx", "options.mirostat", "tools", "think"}


@pytest.mark.parametrize(
    ("path", "body", "status", "word"),
    [
        ("/api/chat", {"model": "gpt", "messages": HELLO}, 404, "demo"),
        ("/api/chat", {"messages": HELLO}, 400, "model"),
        ("/api/chat", {"model": "demo", "messages": HELLO, "format": "yaml"}, 400, "format"),
        ("/api/chat", {"model": "demo", "messages": [{"role": "tool", "content": "1"}]}, 400, "role"),
        ("/api/chat", {"model": "demo", "messages": [{**HELLO[0], "images": ["AAAA"]}]}, 400, "images"),
        ("/api/generate", {"model": "demo", "prompt": "a", "images": ["AAAA"]}, 400, "images"),
        ("/api/generate", {"model": "demo", "prompt": "a", "suffix": "b"}, 400, "suffix"),
        ("/api/generate", {"model": "demo", "prompt": "a", "context": [99_999]}, 400, "context"),
        ("/api/generate", {"model": "demo", "prompt": "long " * 2000}, 400, "shorten"),
        ("/api/generate", [], 400, "JSON object"),
        ("/api/embed", {"model": "demo", "input": "a"}, 404, "address"),
        ("/api/show", {"model": "gpt"}, 404, "demo"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_errors_have_ollama_s_form(path, body, status, word, http):
    answer = http.post(path, json=body)
    assert answer.status_code == status, answer.text
    (name, message), *others = answer.json().items()
    assert (name, others) == ("error", [])
    assert word in message


def test_the_official_client_understands_errors(client):
    with pytest.raises(ollama.ResponseError, match="only demo") as refusal:
        client.chat("gpt", HELLO)
    assert refusal.value.status_code == 404


def test_a_text_model_generates_raw_only(text_bundle, start_server):
    with start_server(text_bundle) as server, closing(ollama.Client(host=server.url)) as client:
        assert client.generate("bundle", "The", raw=True, options={"num_predict": 2}).response
        with pytest.raises(ollama.ResponseError, match="generate with raw"):
            client.chat("bundle", HELLO)


def test_the_document_describes_it():
    paths = document("0")["paths"]
    assert {"/api/chat", "/api/generate", "/api/tags", "/api/show", "/api/ps", "/api/version"} < set(paths)
