"""AutoGen: an assistant agent, and two that talk to each other."""

from __future__ import annotations

import asyncio
import sys

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_ext.models.openai import OpenAIChatCompletionClient


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
            "structured_output": False,
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
    await client.close()


asyncio.run(main())
