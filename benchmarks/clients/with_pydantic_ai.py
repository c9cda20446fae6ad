"""Pydantic AI: an agent with instructions and a tool, a conversation, streams, replies of a form; by both APIs."""

from __future__ import annotations

import asyncio
import sys
from typing import Literal

from pydantic import BaseModel, Field
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider


class Animal(BaseModel):
    """What a reply is parsed to."""

    kind: Literal["cat", "dog"]
    legs: int = Field(ge=0, le=4)


async def main() -> None:
    """Use it."""
    provider = OpenAIProvider(base_url=f"{sys.argv[1]}/v1", api_key="none")
    for model in (OpenAIChatModel("demo", provider=provider), OpenAIResponsesModel("demo", provider=provider)):
        plain = Agent(model, model_settings={"temperature": 0})
        first = await plain.run("Hello! Who are you?")
        assert "Pip" in first.output, first.output
        agent = Agent(model, instructions="Be brief.", system_prompt="You are kind.", model_settings={"temperature": 0})

        @agent.tool_plain
        def weather(city: str) -> str:
            """The weather in a city."""
            return f"sunny in {city}"

        answer = await agent.run("Who are you?")
        assert answer.output
        second = await agent.run("And what can you do?", message_history=answer.all_messages())
        assert second.output
        async with plain.run_stream("Hello! Who are you?") as stream:
            assert await stream.get_output() == first.output
        formed = await Agent(model, output_type=NativeOutput(Animal)).run("Hello!")
        assert isinstance(formed.output, Animal)


asyncio.run(main())
