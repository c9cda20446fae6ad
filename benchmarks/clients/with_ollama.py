"""The official Python client of Ollama: models, chats, prompts, streams, replies of a form."""

from __future__ import annotations

import sys
from typing import Literal

import ollama
from pydantic import BaseModel, Field


class Animal(BaseModel):
    """What a reply is parsed to."""

    kind: Literal["cat", "dog"]
    name: str = Field(max_length=12)
    legs: int = Field(ge=0, le=4)


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
form = {"format": Animal.model_json_schema(), "options": {"temperature": 0}}
text = client.chat(model, HELLO, **form).message.content
Animal.model_validate_json(text, strict=True)
assert "".join(part.message.content for part in client.chat(model, HELLO, stream=True, **form)) == text
assert client.generate(model, HELLO[0]["content"], **form).response == text
