"""LiteLLM by both of its ways to local servers: chats, streams, text completions, replies of a form."""

from __future__ import annotations

import os
import sys
from typing import Literal

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks the network for prices

import litellm
from pydantic import BaseModel, Field


class Animal(BaseModel):
    """What a reply is parsed to."""

    kind: Literal["cat", "dog"]
    legs: int = Field(ge=0, le=4)


url = sys.argv[1]
HELLO = [{"role": "user", "content": "Hello! Who are you?"}]
litellm.telemetry = False
for model, base in (("openai/demo", f"{url}/v1"), ("ollama_chat/demo", url), ("ollama/demo", url)):
    options = {"model": model, "api_base": base, "api_key": "none", "temperature": 0}
    reply = litellm.completion(messages=HELLO, **options).choices[0].message.content
    assert "Pip" in reply or model.startswith("ollama/"), (model, reply)
    chunks = litellm.completion(messages=HELLO, stream=True, **options)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == reply, model
    formed = litellm.completion(messages=HELLO, response_format=Animal, **options).choices[0].message.content
    Animal.model_validate_json(formed, strict=True)
text = litellm.text_completion(
    model="text-completion-openai/demo", prompt="Pip lives", api_base=f"{url}/v1", api_key="none", max_tokens=5
)
assert text.choices[0].text
