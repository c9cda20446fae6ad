"""Replies that follow a JSON schema over HTTP: `response_format`, `text.format` and Ollama's `format`."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import httpx
import ollama
import openai
import pytest

from tinylm.runtime import ChatModel
from tinylm.runtime.server.dispatch import Dispatcher, Limits
from tinylm.runtime.server.models import Models, ServedModel

HELLO = [{"role": "user", "content": "Hello! Who are you?"}]
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 130},
        "mood": {"enum": ["happy 😀", "sad"]},
    },
    "required": ["name", "age", "mood"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA, "strict": True}}


@pytest.fixture(scope="module")
def client(demo_server):
    with openai.OpenAI(base_url=f"{demo_server.url}/v1", api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def http(demo_server):
    with httpx.Client(base_url=demo_server.url, timeout=60) as http:
        yield http


def check(text):
    value = json.loads(text)
    assert list(value) == ["name", "age", "mood"]
    assert len(value["name"]) <= 12
    assert value["age"] in range(131)
    assert value["mood"] in SCHEMA["properties"]["mood"]["enum"]
    return value


def test_chats_follow_a_schema_whole_streamed_and_several_at_a_time(client):
    chat = client.chat.completions
    options = {"model": "demo", "messages": HELLO, "response_format": FORMAT, "seed": 5, "temperature": 1.2}
    whole = chat.create(n=3, **options)
    assert len({check(choice.message.content)["name"] for choice in whole.choices}) > 1
    assert {choice.finish_reason for choice in whole.choices} == {"stop"}
    streamed = "".join(
        part.delta.content or "" for chunk in chat.create(stream=True, **options) for part in chunk.choices
    )
    assert streamed == whole.choices[0].message.content


def test_the_official_client_s_parsed_replies(client):
    from pydantic import BaseModel, Field

    class Pet(BaseModel):
        kind: str = Field(max_length=8, description="cat or dog")
        legs: int = Field(ge=0, le=4)

    reply = client.chat.completions.parse(model="demo", messages=HELLO, response_format=Pet, seed=1)
    assert isinstance(reply.choices[0].message.parsed, Pet)
    response = client.responses.parse(model="demo", input="Hello!", text_format=Pet)
    assert isinstance(response.output_parsed, Pet)
    assert response.text.format.name == "Pet"


def test_json_objects(client, http):
    options = {"model": "demo", "messages": HELLO, "seed": 1, "max_tokens": 30}
    choice = client.chat.completions.create(response_format={"type": "json_object"}, **options).choices[0]
    assert choice.message.content.startswith("{")
    if choice.finish_reason == "stop":
        assert isinstance(json.loads(choice.message.content), dict)
    else:
        assert choice.finish_reason == "length"
    body = {"input": "Hello!", "text": {"format": {"type": "json_object"}}, "max_output_tokens": 16}
    answer = http.post("/v1/responses", json=body).json()
    assert answer["output"][0]["content"][0]["text"].startswith("{")
    assert answer["text"] == {"format": {"type": "json_object"}}


def test_a_reply_that_is_cut_has_the_reason_length(client):
    options = {"model": "demo", "messages": HELLO, "response_format": FORMAT, "max_tokens": 6}
    assert client.chat.completions.create(**options).choices[0].finish_reason == "length"
    text = {"format": {"type": "json_schema", "name": "person", "schema": SCHEMA}}
    response = client.responses.create(model="demo", input="Hello!", text=text, max_output_tokens=6)
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")


def test_responses_follow_a_schema_whole_and_streamed(client):
    text = {"format": {"type": "json_schema", "name": "person", "schema": SCHEMA, "strict": True}}
    options = {"model": "demo", "input": "Hello!", "text": text, "temperature": 0}
    whole = client.responses.create(**options)
    check(whole.output_text)
    assert whole.text.format.name == "person"
    events = client.responses.create(stream=True, **options)
    pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(pieces) == whole.output_text


def test_ollama_s_clients(demo_server):
    with closing(ollama.Client(demo_server.url)) as client:
        check(client.chat("demo", HELLO, format=SCHEMA, options={"seed": 3})["message"]["content"])
        streamed = client.generate("demo", "Hello!", format=SCHEMA, stream=True)
        check("".join(part["response"] for part in streamed))
        reply = client.generate("demo", "Hello!", format="json", options={"num_predict": 12})
        assert reply["response"].startswith("{")


def test_many_at_a_time_do_not_mix(demo_server):
    def ask(number):
        schema = {"const": f"reply {number} 🌍"}
        form = {"type": "json_schema", "json_schema": {"schema": schema}}
        body = {"messages": HELLO, "response_format": form, "max_tokens": 64}
        answer = httpx.post(f"{demo_server.url}/v1/chat/completions", json=body, timeout=60)
        return json.loads(answer.json()["choices"][0]["message"]["content"])

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(ask, range(12))) == [f"reply {number} 🌍" for number in range(12)]


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/chat/completions", {"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ("/v1/chat/completions", {"response_format": {"type": "grammar"}}, "response_format.type"),
        (
            "/v1/chat/completions",
            {"response_format": {**FORMAT, "json_schema": {"schema": {"not": {}}}}},
            "response_format",
        ),
        (
            "/v1/chat/completions",
            {"response_format": {**FORMAT, "json_schema": {"schema": {"$ref": "#"}}}},
            "response_format",
        ),
        (
            "/v1/chat/completions",
            {"response_format": {**FORMAT, "json_schema": {"schema": {"enum": ["x" * 70_000]}}}},
            "response_format",
        ),
        ("/v1/completions", {"prompt": "a", "response_format": {"type": "json_object"}}, "response_format"),
    ],
    ids=lambda value: str(value)[:70],
)
def test_a_schema_that_cannot_be_enforced_is_refused(path, body, param, http):
    messages = {} if "prompt" in body else {"messages": HELLO}
    answer = http.post(path, json={**messages, **body, "stream": True})
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["param"] == param
    assert "\n" not in error["message"]


def test_a_pattern_that_explodes_ends_with_an_error_and_the_server_goes_on(http):
    form = {"type": "json_schema", "json_schema": {"schema": {"type": "string", "pattern": "^(x{1,1000}){1,1000}$"}}}
    answer = http.post("/v1/chat/completions", json={"messages": HELLO, "response_format": form, "max_tokens": 400})
    assert answer.status_code in {200, 400}
    assert http.get("/health").status_code == 200
    assert http.post("/v1/chat/completions", json={"messages": HELLO, "max_tokens": 2}).status_code == 200


def test_without_llguidance_a_request_is_refused_in_one_line(monkeypatch):
    import asyncio

    from tinylm.runtime.server.errors import ApiError

    monkeypatch.setitem(sys.modules, "llguidance", None)
    model = ServedModel("demo", None, ChatModel(threads=1))
    dispatcher = Dispatcher(Models([model]), None, None, Limits(8, 60))
    with pytest.raises(ApiError, match="llguidance") as refusal:
        asyncio.run(dispatcher.constrained(model, model.default_options(), {"type": "object"}, "response_format"))
    assert (refusal.value.status, refusal.value.param) == (400, "response_format")
