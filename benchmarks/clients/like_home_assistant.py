"""Home Assistant's Ollama integration, as its code calls Ollama's asynchronous client: set-up, status, conversation."""

from __future__ import annotations

import asyncio
import sys

import ollama

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "HassTurnOn",
            "description": "Turns on a device",
            "parameters": {"type": "object", "properties": {"name": {"type": "string"}}, "required": []},
        },
    }
]


async def main() -> None:
    """Use it."""
    client = ollama.AsyncClient(host=sys.argv[1], headers={"Authorization": "Bearer none"})
    models = {model["model"] for model in (await client.list()).get("models", [])}
    assert "demo:latest" in models, models
    installed, loaded = await asyncio.gather(client.list(), client.ps())
    assert installed.models[0].model == loaded.models[0].model == "demo:latest"
    history = [
        ollama.Message(role="system", content="You are a voice assistant for Home Assistant. Answer in plain text."),
        ollama.Message(role="user", content="Hello! Who are you?"),
        # What the integration keeps of an empty reply
        ollama.Message(role="assistant", content=None, thinking=None, tool_calls=None),
        ollama.Message(role="user", content="Who are you?", images=None),
    ]
    for keep_alive, think, tools in ((-1, False, TOOLS), ("300s", None, None)):
        stream = await client.chat(
            model="demo:latest",
            messages=history,
            tools=tools,
            stream=True,
            keep_alive=keep_alive,
            options={"num_ctx": 8192},
            think=think,
            format=None,
        )
        parts = [part async for part in stream]
        said = "".join(part["message"].get("content") or "" for part in parts)
        assert said, parts
        assert all(part["message"].get("tool_calls") is None for part in parts)
        assert parts[-1].done


asyncio.run(main())
