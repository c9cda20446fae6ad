"""Ollama's API, beside OpenAI's."""

from __future__ import annotations

import time

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from tinylm.chat_format import Message, encode_turn
from tinylm.runtime.server.dispatch import Dispatcher, json_response
from tinylm.runtime.server.errors import ApiError, invalid
from tinylm.runtime.server.models import ServedModel
from tinylm.runtime.server.ollama_protocol import (
    API_VERSION,
    OLLAMA_RULES,
    OllamaAnswer,
    OllamaChatRequest,
    OllamaGenerateRequest,
    OllamaNamed,
    OllamaRequest,
    description,
    ollama_sampling,
    ollama_schema,
    summary,
    timestamp,
)
from tinylm.runtime.server.protocol import ChatMessage, Prompt, chat_prompt, completion_prompts, conversation_of
from tinylm.runtime.server.replies import ReplyTask
from tinylm.runtime.server.sse import StreamedResponse
from tinylm.runtime.server.tolerance import Ignored

_LATEST = ":latest"
_YEARS_S = 100 * 365 * 24 * 3600.0


class OllamaApi:
    """Handlers of the routes below `/api`.

    Args:
        dispatcher: reads requests and sends replies.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def routes(self) -> list[Route]:
        """All routes."""
        return [
            Route("/api/version", self.version),
            Route("/api/tags", self.tags),
            Route("/api/ps", self.running),
            Route("/api/show", self.show, methods=["POST"]),
            Route("/api/chat", self.chat, methods=["POST"]),
            Route("/api/generate", self.generate, methods=["POST"]),
        ]

    async def version(self, _: HttpRequest) -> Response:
        """The version of the API."""
        return json_response({"version": API_VERSION})

    async def tags(self, _: HttpRequest) -> Response:
        """List the models."""
        return json_response({"models": [summary(model) for model in self._dispatcher.models]})

    async def running(self, _: HttpRequest) -> Response:
        """List the models that are loaded: all of them, and they stay so."""
        never = timestamp(time.time() + _YEARS_S)
        return json_response(
            {
                "models": [
                    {**summary(model), "expires_at": never, "size_vram": 0, "context_length": model.context_length}
                    for model in self._dispatcher.models
                ]
            }
        )

    async def show(self, request: HttpRequest) -> Response:
        """Describe a model."""
        asked, _ = await self._dispatcher.read(request, OllamaNamed, OLLAMA_RULES)
        return json_response(description(self._model(asked.model or asked.name)))

    async def chat(self, request: HttpRequest) -> Response | StreamedResponse:
        """Reply to a conversation."""
        dispatcher = self._dispatcher
        asked, ignored = await dispatcher.read(request, OllamaChatRequest, OLLAMA_RULES)
        model = self._model(asked.model)
        answer = OllamaAnswer(model, asked.model, True, asked.logprobs, None)
        if not asked.messages:
            return json_response(answer.loaded(), headers=ignored.headers)
        messages = [ChatMessage(message.role, message.content) for message in asked.messages]
        prompt = self._conversation(model, messages, ignored)
        return await self._answer(request, asked, model, prompt, answer, ignored)

    async def generate(self, request: HttpRequest) -> Response | StreamedResponse:
        """Reply to a prompt, or continue a text."""
        asked, ignored = await self._dispatcher.read(request, OllamaGenerateRequest, OLLAMA_RULES)
        model = self._model(asked.model)
        if not asked.prompt:
            answer = OllamaAnswer(model, asked.model, False, asked.logprobs, None)
            return json_response(answer.loaded(), headers=ignored.headers)
        self._dispatcher.check_length(model, [asked.system, asked.prompt], "prompt")
        if asked.raw:
            (prompt,) = completion_prompts(model.tokenizer, asked.prompt)
        elif asked.context:
            if asked.system:
                ignored.add("system")  # the context has its own
            prompt = _after(model, asked)
        else:
            messages = [ChatMessage("system", asked.system or None)] if asked.system else []
            prompt = self._conversation(model, [*messages, ChatMessage("user", asked.prompt)], ignored)
        answer = OllamaAnswer(model, asked.model, False, asked.logprobs, None if asked.raw else prompt.ids)
        return await self._answer(request, asked, model, prompt, answer, ignored)

    def _model(self, name: str) -> ServedModel:
        return self._dispatcher.models.get(name.removesuffix(_LATEST))

    def _conversation(self, model: ServedModel, messages: list[ChatMessage], ignored: Ignored) -> Prompt:
        if not model.manifest.chat:
            raise ApiError(400, f"{model.name} was never fine-tuned on conversations: generate with raw", "no_chat")
        conversation, unfinished = conversation_of(messages, self._dispatcher.limits.strict, ignored)
        self._dispatcher.check_length(model, [message["content"] for message in conversation], "messages")
        return chat_prompt(model.tokenizer, conversation, unfinished)

    async def _answer(
        self,
        request: HttpRequest,
        asked: OllamaRequest,
        model: ServedModel,
        prompt: Prompt,
        answer: OllamaAnswer,
        ignored: Ignored,
    ) -> Response | StreamedResponse:
        dispatcher = self._dispatcher
        dispatcher.check_tokens(model, len(prompt.ids), "messages")
        options = ollama_sampling(asked, model, dispatcher.limits.tokens)
        options = await dispatcher.constrained(model, options, ollama_schema(asked), "format")
        task = ReplyTask(model, prompt.ids, options, (asked.top_logprobs or 0) if asked.logprobs else None)
        return await dispatcher.answer(request, [task], lambda _: answer, asked.stream, ignored)


def _after(model: ServedModel, asked: OllamaGenerateRequest) -> Prompt:
    """The prompt of a request that goes on from the `context` of an earlier response.

    Raises:
        ApiError: it holds ids that are not in the vocabulary.
    """
    tokenizer = model.tokenizer
    wrong = next((id_ for id_ in asked.context if id_ >= tokenizer.vocab_size), None)
    if wrong is not None:
        raise invalid(f"context: there is no token {wrong} in {tokenizer.vocab_size:,}", "context")
    reply = tokenizer.chat_format.assistant
    turn = encode_turn(tokenizer, Message(role="user", content=asked.prompt))
    return Prompt([*asked.context, *reply.after, *turn, *reply.before])
