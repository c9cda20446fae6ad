"""The clients of the server that are tried, and what they take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Client:
    """A client and the script that uses it.

    Attributes:
        script: beside this file.
        kind: python: packages of PyPI, in one environment for all; node: packages of npm, likewise; own: packages of
            PyPI in an environment of their own, driven by a script of the project's environment; beside: likewise of
            their own, where the script runs and finds torch and what else lies beside it in the project's.
        packages: to install.
    """

    script: str
    kind: Literal["python", "node", "own", "beside"]
    packages: tuple[str, ...]


CLIENTS = {
    "openai (Python)": Client("with_openai.py", "python", ("openai",)),
    "openai (npm)": Client("with_openai.mjs", "node", ("openai",)),
    "ollama (Python)": Client("with_ollama.py", "python", ("ollama",)),
    "ollama (npm)": Client("with_ollama.mjs", "node", ("ollama",)),
    "LangChain": Client("with_langchain.py", "python", ("langchain-openai", "langchain-ollama")),
    "LiteLLM": Client("with_litellm.py", "python", ("litellm",)),
    "llm": Client("with_llm.py", "python", ("llm",)),
    "AI SDK": Client("with_ai_sdk.mjs", "node", ("ai", "@ai-sdk/openai", "@ai-sdk/openai-compatible")),
    "Pydantic AI": Client("with_pydantic_ai.py", "python", ("pydantic-ai-slim[openai]",)),
    "AutoGen": Client("with_autogen.py", "python", ("autogen-ext[openai]", "autogen-agentchat")),
    "lm-evaluation-harness": Client("with_lm_eval.py", "beside", ("lm_eval[api,hf]",)),
    "n8n": Client("with_n8n.mjs", "node", ("@langchain/openai", "@langchain/core")),
    "Home Assistant": Client("like_home_assistant.py", "python", ("ollama",)),
    "SillyTavern": Client("like_sillytavern.py", "python", ("httpx",)),
    "Open WebUI": Client("with_open_webui.py", "own", ("open-webui",)),
}
LARGE = frozenset({"Open WebUI"})
"""What takes gigabytes, and is tried only where it is named."""
