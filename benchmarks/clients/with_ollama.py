"""The official Python client of Ollama: models, chats, prompts, streams."""

from __future__ import annotations

import sys

import ollama

HELLO = [{"role": "user", "content": "Hello! Who are you?"}]
client = ollama.Client(host=sys.argv[1])
model = client.list().models[0].model
assert client.show(model).capabilities == ["completion"]
assert client.ps().models[0].model == model
reply = client.chat(model, HELLO, options={"temperature": 0}).message.content
assert "Pip" in reply, reply
parts = client.chat(model, HELLO, options={"temperature": 0}, stream=True)
assert "".join(part.message.content for part in parts) == reply
assert client.generate(model, HELLO[0]["content"], options={"temperature": 0}).response == reply
