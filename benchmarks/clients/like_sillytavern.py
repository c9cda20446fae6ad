"""The requests that SillyTavern makes: its custom chat completions, generic text completions, and Ollama's."""

from __future__ import annotations

import json
import sys
from typing import Any

import httpx

http = httpx.Client(base_url=sys.argv[1], headers={"authorization": "Bearer none"}, timeout=60)
MESSAGES = [
    {"role": "system", "content": "Write Pip's next reply in a chat between Pip and User."},
    {"role": "system", "content": "Pip lives on a Raspberry Pi."},
    {"role": "system", "content": "How are you?", "name": "example_user"},
    {"role": "system", "content": "I am fine.", "name": "example_assistant"},
    {"role": "system", "content": "[Start a new Chat]"},
    {"role": "assistant", "content": "Hello! I am Pip."},
    {"role": "user", "content": "Who are you?"},
]
LAST = {"role": "system", "content": "Stay in character."}
BODY = {
    "model": "demo",
    "temperature": 1,
    "max_tokens": 60,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.3,
    "top_p": 1,
    "top_k": 0,
    "stop": ["\nUser:"],
    "logit_bias": {},
}


def texts(path: str, body: dict[str, Any]) -> list[str]:
    """The choices of a request, streamed and whole."""
    whole = http.post(path, json={**body, "stream": False})
    assert whole.status_code == 200, whole.text
    choices = whole.json()["choices"]
    with http.stream("POST", path, json={**body, "stream": True}) as response:
        assert response.status_code == 200
        lines = [line[6:] for line in response.iter_lines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    assert any(json.loads(line)["choices"] for line in lines[:-1])
    return [choice.get("text") or choice["message"]["content"] for choice in choices]


assert http.get("/v1/models").json()["data"][0]["id"] == "demo"
for messages in ([*MESSAGES], [*MESSAGES, LAST], [*MESSAGES, LAST, {"role": "assistant", "content": "I am"}]):
    assert texts("/v1/chat/completions", {**BODY, "messages": messages})
# Several swipes at once, and token probabilities
assert len(texts("/v1/chat/completions", {**BODY, "messages": MESSAGES, "n": 3})) == 3
assert texts("/v1/chat/completions", {**BODY, "messages": MESSAGES, "logprobs": True, "top_logprobs": 5})
generic = {**BODY, "prompt": "### Instruction:\nWho is Pip?\n### Response:\n", "n": 1, "seed": -1, "logprobs": 10}
assert texts("/v1/completions", generic)
assert http.get("/api/tags").json()["models"][0]["name"] == "demo:latest"
options = {
    "num_predict": 60,
    "num_ctx": 2048,
    "stop": ["\nUser:"],
    "temperature": 1,
    "repeat_penalty": 1.2,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "top_k": 0,
    "top_p": 1,
    "tfs_z": 1,
    "typical_p": 1,
    "seed": -1,
    "repeat_last_n": 64,
    "mirostat": 0,
    "mirostat_tau": 5,
    "mirostat_eta": 0.1,
    "min_p": 0.1,
}
body = {"model": "demo:latest", "prompt": "Pip:", "stream": False, "keep_alive": -1, "raw": True, "options": options}
answer = http.post("/api/generate", json=body)
assert answer.status_code == 200, answer.text
assert answer.json()["response"]
