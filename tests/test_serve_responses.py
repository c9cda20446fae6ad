"""OpenAI's Responses API by the official client."""

import httpx
import openai
import pytest

HELLO = "Hello! Who are you?"


@pytest.fixture
def client(demo_server):
    with openai.OpenAI(base_url=f"{demo_server.url}/v1", api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
def http(demo_server):
    with httpx.Client(base_url=demo_server.url, timeout=60) as http:
        yield http


def test_a_text_is_answered_as_by_a_chat(client):
    messages = [{"role": "user", "content": HELLO}]
    chat = client.chat.completions.create(model="demo", messages=messages, temperature=0)
    response = client.responses.create(model="demo", input=HELLO, temperature=0)
    assert response.output_text == chat.choices[0].message.content
    assert response.status == "completed"
    assert response.usage.input_tokens == chat.usage.prompt_tokens
    assert response.usage.output_tokens == chat.usage.completion_tokens
    assert response.output[0].role == "assistant"


def test_a_conversation_with_instructions_and_what_came_back(client):
    first = client.responses.create(model="demo", input=HELLO, temperature=0)
    items = [{"role": "user", "content": [{"type": "input_text", "text": HELLO}]}, *first.output]
    items += [{"type": "reasoning", "id": "rs_1", "summary": []}, {"role": "user", "content": "And then?"}]
    second = client.responses.create(model="demo", input=items, instructions="Be kind.", temperature=0)
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": HELLO},
        {"role": "assistant", "content": first.output_text},
        {"role": "user", "content": "And then?"},
    ]
    chat = client.chat.completions.create(model="demo", messages=messages, temperature=0)
    assert second.output_text == chat.choices[0].message.content
    assert second.instructions == "Be kind."


def test_a_stream_has_the_events_in_order(client):
    whole = client.responses.create(model="demo", input=HELLO, temperature=0)
    with client.responses.stream(model="demo", input=HELLO, temperature=0) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert final.output_text == whole.output_text
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert set(kinds[4:-4]) == {"response.output_text.delta"}
    assert kinds[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == whole.output_text


def test_too_short_a_limit_leaves_it_incomplete(client):
    response = client.responses.create(model="demo", input=HELLO, max_output_tokens=2, temperature=0)
    assert response.status == "incomplete"
    assert response.incomplete_details.reason == "max_output_tokens"
    last = list(client.responses.create(model="demo", input=HELLO, max_output_tokens=2, stream=True))[-1]
    assert last.type == "response.incomplete"


def test_log_probabilities(client):
    options = {"include": ["message.output_text.logprobs"], "top_logprobs": 2, "temperature": 0}
    response = client.responses.create(model="demo", input=HELLO, **options)
    part = response.output[0].content[0]
    assert "".join(entry.token for entry in part.logprobs) == response.output_text
    assert all(len(entry.top_logprobs) == 2 for entry in part.logprobs)


def test_what_is_passed_over_is_named(http):
    body = {
        "input": HELLO,
        "store": True,
        "reasoning": {"effort": "low"},
        "include": ["reasoning.encrypted_content"],
        "text": {"format": {"type": "text"}, "verbosity": "low"},
        "tools": [{"type": "web_search"}],
        "metadata": {"a": "b"},
    }
    answer = http.post("/v1/responses", json=body)
    assert answer.json()["metadata"] == {"a": "b"}
    named = set(answer.headers["x-tinylm-ignored"].split(", "))
    assert named == {"store", "reasoning", "include=reasoning.encrypted_content", "text.verbosity", "tools"}


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"text": {"format": {"type": "grammar"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "name": "a"}}}, "text.format.schema"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"input": [{"type": "function_call_output", "call_id": "1", "output": "x"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0].type"),
        ({"input": []}, "input"),
        ({"input": [{"type": "reasoning"}]}, "input"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
    ],
    ids=str,
)
def test_what_would_change_the_reply_s_meaning_is_refused(wrong, param, http):
    answer = http.post("/v1/responses", json={"input": HELLO, **wrong})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param


def test_nothing_is_stored(http):
    assert http.get("/v1/responses/resp_1").status_code == 404
