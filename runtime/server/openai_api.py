"""OpenAI's API: models, chat completions and completions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from tinylm.runtime.server.dispatch import Dispatcher, check_json, json_response
from tinylm.runtime.server.errors import ApiError, invalid
from tinylm.runtime.server.models import ServedModel
from tinylm.runtime.server.protocol import (
    OPENAI_RULES,
    ChatRequest,
    CompletionRequest,
    Prompt,
    Request,
    chat_prompt,
    completion_prompts,
    conversation_of,
    numbered,
    reply_length,
    sampling_of,
    schema_of,
)
from tinylm.runtime.server.replies import ReplyTask
from tinylm.runtime.server.responses import ChatAnswer, CompletionAnswer, CompletionForm
from tinylm.runtime.server.sse import StreamedResponse

_SHOWN_DEFAULTS = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "seed", "max_new_tokens")


class OpenAIApi:
    """Handlers of the routes below `/v1`.

    Args:
        dispatcher: reads requests and sends replies.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def routes(self) -> list[Route]:
        """All routes."""
        return [
            Route("/v1/models", self.models),
            Route("/v1/models/{name:path}", self.one_model),
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/completions", self.complete, methods=["POST"]),
        ]

    async def models(self, _: HttpRequest) -> Response:
        """List the models."""
        return json_response({"object": "list", "data": [_about(model) for model in self._dispatcher.models]})

    async def one_model(self, request: HttpRequest) -> Response:
        """Describe a model."""
        return json_response(_about(self._dispatcher.models.get(request.path_params["name"])))

    async def chat(self, request: HttpRequest) -> Response | StreamedResponse:
        """Reply to a conversation."""
        check_json(request)
        dispatcher = self._dispatcher
        asked, ignored = await dispatcher.read(request, ChatRequest, OPENAI_RULES)
        model = dispatcher.models.get(asked.model)
        check_chat(model)
        tokens = asked.max_tokens
        if asked.max_completion_tokens is not None:
            if tokens not in (None, asked.max_completion_tokens):
                raise invalid("max_tokens and max_completion_tokens differ: give one of them", "max_tokens")
            tokens = asked.max_completion_tokens
        if tokens == 0:
            raise invalid("max_tokens must be at least 1", "max_tokens")
        if asked.top_logprobs and not asked.logprobs:
            raise invalid("top_logprobs is for log-probabilities: set logprobs to true", "top_logprobs")
        task = self._task(model, asked, tokens)
        conversation, unfinished = conversation_of(asked.messages, dispatcher.limits.strict, ignored)
        dispatcher.check_length(model, [message["content"] for message in conversation], "messages")
        prompt = chat_prompt(model.tokenizer, conversation, unfinished)
        dispatcher.check_tokens(model, len(prompt.ids), "messages")
        options = await dispatcher.constrained(model, task.options, _schema_of(asked), "response_format")
        alternatives = (asked.top_logprobs or 0) if asked.logprobs else None
        task = replace(task, prompt=prompt.ids, options=options, alternatives=alternatives)
        tasks = [replace(task, options=numbered(task.options, number)) for number in range(asked.n)]
        answer = ChatAnswer(model, asked.n, _include_usage(asked), asked.logprobs)
        return await dispatcher.answer(request, tasks, lambda _: answer, asked.stream, ignored)

    async def complete(self, request: HttpRequest) -> Response | StreamedResponse:
        """Continue texts, or score them."""
        check_json(request)
        dispatcher = self._dispatcher
        asked, ignored = await dispatcher.read(request, CompletionRequest, OPENAI_RULES)
        model = dispatcher.models.get(asked.model)
        best_of = max(asked.n, asked.best_of or asked.n)
        if asked.best_of is not None and asked.best_of < asked.n:
            raise invalid("best_of must be at least n", "best_of")
        if best_of > asked.n and asked.stream:
            raise invalid("best_of chooses among whole replies: it cannot be streamed", "best_of")
        task = self._task(model, asked, asked.max_tokens)
        prompts = self._prompts(model, asked)
        needs_logprobs = asked.logprobs is not None or best_of > asked.n
        task = replace(
            task,
            alternatives=(asked.logprobs or 0) if needs_logprobs else None,
            score_prompt=asked.echo and asked.logprobs is not None,
            prompt_only=asked.max_tokens == 0,
        )
        tasks = [
            replace(task, prompt=prompt.ids, options=numbered(task.options, number))
            for prompt in prompts
            for number in range(best_of)
        ]
        form = CompletionForm(
            [model.tokenizer.decode(prompt.ids) if asked.echo else "" for prompt in prompts],
            [prompt.added for prompt in prompts],
            asked.n,
            best_of,
            asked.logprobs,
            _include_usage(asked),
        )
        return await dispatcher.answer(
            request, tasks, lambda jobs: CompletionAnswer(model, form, jobs), asked.stream, ignored
        )

    def _prompts(self, model: ServedModel, asked: CompletionRequest) -> list[Prompt]:
        texts = [asked.prompt] if isinstance(asked.prompt, str) else asked.prompt
        for text in texts:
            if isinstance(text, str):
                self._dispatcher.check_length(model, [text], "prompt")
        prompts = completion_prompts(model.tokenizer, asked.prompt)
        for prompt in prompts:
            self._dispatcher.check_tokens(model, len(prompt.ids), "prompt")
        return prompts

    def _task(self, model: ServedModel, asked: Request, tokens: int | None) -> ReplyTask:
        """What all replies to a request have in common."""
        if asked.stream_options is not None and not asked.stream:
            raise invalid("stream_options is for streams: set stream to true", "stream_options")
        if self._dispatcher.limits.strict:
            _check_strictly(asked, tokens)
        defaults = model.default_options()
        length = reply_length(tokens, defaults.max_new_tokens, self._dispatcher.limits.tokens)
        return ReplyTask(model, (), sampling_of(asked, defaults, model.tokenizer.vocab_size, length))


def check_chat(model: ServedModel) -> None:
    """Refuse conversations with a model that knows none.

    Raises:
        ApiError: it was never fine-tuned.
    """
    if not model.manifest.chat:
        raise invalid("this model was never fine-tuned on conversations: use /v1/completions", "model", "no_chat")


def _check_strictly(asked: Request, tokens: int | None) -> None:
    """Refuse values that other servers' APIs know, and OpenAI's does not."""
    for name, wrong in (
        ("max_tokens", tokens is not None and tokens < 0),
        ("top_k", asked.top_k is not None and asked.top_k < 0),
        ("top_p", asked.top_p == 0),
        ("temperature", asked.temperature is not None and asked.temperature > 2),
    ):
        if wrong:
            raise ApiError(400, f"{name}: out of range", "invalid_value", name)


def _schema_of(asked: ChatRequest) -> Mapping[str, Any] | None:
    """The JSON schema of a request's `response_format`, if it has one."""
    wanted = asked.response_format
    if wanted is None:
        return None
    schema = wanted.json_schema.schema if wanted.json_schema is not None else None
    return schema_of(wanted.type, schema, "response_format.json_schema")


def _include_usage(asked: Request) -> bool:
    return asked.stream_options is not None and asked.stream_options.include_usage


def _about(model: ServedModel) -> dict[str, Any]:
    defaults = model.default_options()
    return {
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": "tinylm",
        "context_length": model.context_length,
        "defaults": {name: getattr(defaults, name) for name in _SHOWN_DEFAULTS},
    }
