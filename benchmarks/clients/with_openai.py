"""The official Python client of OpenAI: chats, completions, responses, models, replies of a form; asynchronously."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Literal

import openai
from pydantic import BaseModel, Field

URL = f"{sys.argv[1]}/v1"
HELLO = [{"role": "user", "content": "Hello! Who are you?"}]
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "legs": {"enum": [2, 4]}},
    "required": ["name", "legs"],
    "additionalProperties": False,
}
FORM = {"type": "json_schema", "json_schema": {"name": "animal", "schema": SCHEMA, "strict": True}}


class Animal(BaseModel):
    """What a reply is parsed to."""

    kind: Literal["cat", "dog"]
    name: str = Field(max_length=12)
    legs: int = Field(ge=0, le=4)


def main() -> None:
    """Use it."""
    client = openai.OpenAI(base_url=URL, api_key="none", max_retries=0)
    (model,) = [model.id for model in client.models.list()]
    reply = client.chat.completions.create(model=model, messages=HELLO, temperature=0).choices[0].message.content
    assert "Pip" in reply, reply
    chunks = client.chat.completions.create(model=model, messages=HELLO, temperature=0, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == reply
    with client.chat.completions.stream(model=model, messages=HELLO, temperature=0) as stream:
        assert stream.get_final_completion().choices[0].message.content == reply
    assert client.responses.create(model=model, input=HELLO[0]["content"], temperature=0).output_text == reply
    assert client.completions.create(model=model, prompt="Pip lives", max_tokens=5).choices[0].text
    parse(client, model)
    asyncio.run(ask(model, reply))


def parse(client: openai.OpenAI, model: str) -> None:
    """Ask for replies that follow a schema, or that are parsed to a class; whole and streamed."""
    chat = client.chat.completions
    options = {"model": model, "messages": HELLO, "temperature": 0}
    text = chat.create(response_format=FORM, **options).choices[0].message.content
    value = json.loads(text)
    assert set(value) == {"name", "legs"}, text
    assert len(value["name"]) <= 12, text
    assert value["legs"] in {2, 4}, text
    chunks = chat.create(response_format=FORM, stream=True, **options)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == text
    parsed = chat.parse(response_format=Animal, **options).choices[0].message.parsed
    assert isinstance(parsed, Animal)
    with chat.stream(response_format=Animal, **options) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == parsed
    response = client.responses.parse(model=model, input=HELLO[0]["content"], text_format=Animal, temperature=0)
    assert response.output_parsed == parsed


async def ask(model: str, reply: str) -> None:
    """The same with the asynchronous client, several at a time."""
    async with openai.AsyncOpenAI(base_url=URL, api_key="none", max_retries=0) as client:
        replies = await asyncio.gather(
            *(client.chat.completions.create(model=model, messages=HELLO, temperature=0) for _ in range(8))
        )
    assert {one.choices[0].message.content for one in replies} == {reply}


main()
