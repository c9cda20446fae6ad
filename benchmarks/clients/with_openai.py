"""The official Python client of OpenAI: chats, completions, responses, models; also asynchronously."""

from __future__ import annotations

import asyncio
import sys

import openai

URL = f"{sys.argv[1]}/v1"
HELLO = [{"role": "user", "content": "Hello! Who are you?"}]


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
    asyncio.run(ask(model, reply))


async def ask(model: str, reply: str) -> None:
    """The same with the asynchronous client, several at a time."""
    async with openai.AsyncOpenAI(base_url=URL, api_key="none", max_retries=0) as client:
        replies = await asyncio.gather(
            *(client.chat.completions.create(model=model, messages=HELLO, temperature=0) for _ in range(8))
        )
    assert {one.choices[0].message.content for one in replies} == {reply}


main()
