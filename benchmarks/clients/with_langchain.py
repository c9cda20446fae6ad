"""LangChain's chat models for OpenAI and Ollama: whole, streamed, in a chain, with tools at hand, of a form."""

from __future__ import annotations

import sys
from typing import Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool
from langchain_ollama import ChatOllama
from langchain_openai import ChatOpenAI, OpenAI
from pydantic import BaseModel, Field


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class Animal(BaseModel):
    """What a reply is parsed to."""

    kind: Literal["cat", "dog"]
    legs: int = Field(ge=0, le=4)


def check(model: BaseChatModel) -> None:
    """Use a chat model."""
    reply = model.invoke("Hello! Who are you?")
    assert "Pip" in reply.content, reply
    assert reply.usage_metadata["output_tokens"] > 0
    assert "".join(chunk.content for chunk in model.stream("Hello! Who are you?")) == reply.content
    talk = [SystemMessage("Be brief."), HumanMessage("Hello!"), AIMessage(""), HumanMessage("Who are you?")]
    assert model.invoke(talk).content
    assert (ChatPromptTemplate.from_template("Who is {name}?") | model).invoke({"name": "Pip"}).content
    assert model.bind_tools([add]).invoke("Hello!").content
    assert len(model.batch(["Hello!", "Who are you?"])) == 2
    assert isinstance(model.with_structured_output(Animal, method="json_schema").invoke("Hello!"), Animal)


url = sys.argv[1]
check(ChatOpenAI(base_url=f"{url}/v1", api_key="none", model="demo", temperature=0))
responses = ChatOpenAI(base_url=f"{url}/v1", api_key="none", model="demo", temperature=0, use_responses_api=True)
assert "Pip" in responses.invoke("Hello! Who are you?").text
check(ChatOllama(base_url=url, model="demo", temperature=0))
assert OpenAI(base_url=f"{url}/v1", api_key="none", model="demo", max_tokens=8, best_of=2).invoke("Pip lives")
