"""AutoGen: an assistant agent, two that talk to each other, a reply that is parsed."""

from __future__ import annotations

import asyncio
import sys
from typing import Literal

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_core.models import UserMessage
from autogen_ext.models.openai import OpenAIChatCompletionClient
from pydantic import BaseModel, Field


class Animal(BaseModel):
    """What a reply is parsed to."""

    kind: Literal["cat", "dog"]
    legs: int = Field(ge=0, le=4)


async def main() -> None:
    """Use it."""
    client = OpenAIChatCompletionClient(
        model="demo",
        base_url=f"{sys.argv[1]}/v1",
        api_key="none",
        temperature=0,
        model_info={
            "vision": False,
            "function_calling": False,
            "json_output": False,
            "structured_output": True,
            "family": "unknown",
            "multiple_system_messages": True,
        },
    )
    plain = AssistantAgent("pip", client, system_message=None)
    result = await plain.run(task="Hello! Who are you?")
    assert "Pip" in result.messages[-1].content, result
    one, other = (AssistantAgent(name, client, system_message="Be brief.") for name in ("one", "other"))
    talk = RoundRobinGroupChat([one, other], termination_condition=MaxMessageTermination(4))
    result = await talk.run(task="Talk about the garden.")
    assert len(result.messages) == 4, result
    formed = await client.create([UserMessage(content="Hello!", source="user")], json_output=Animal)
    Animal.model_validate_json(formed.content, strict=True)
    await client.close()


asyncio.run(main())
