"""The routes: OpenAI's API and the page, over one scheduler."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from tinylm import __version__
from tinylm.chat_format import encode_prompt, encode_text_prompt
from tinylm.runtime.chat_model import ChatModel
from tinylm.runtime.sampling import SamplingOptions
from tinylm.runtime.server.errors import ApiError, invalid, shutting_down
from tinylm.runtime.server.metrics import Metrics
from tinylm.runtime.server.middleware import Frame
from tinylm.runtime.server.openapi import document
from tinylm.runtime.server.protocol import (
    ChatRequest,
    CompletionRequest,
    Request,
    conversation_of,
    parse,
    sampling_of,
)
from tinylm.runtime.server.replies import Job
from tinylm.runtime.server.responses import Answer
from tinylm.runtime.server.scheduler import Scheduler
from tinylm.runtime.server.security import Access, Guard, page_headers
from tinylm.runtime.server.sse import EventStream, watched

log = logging.getLogger("tinylm.serve")


@dataclass(frozen=True)
class Limits:
    """What one request may take.

    Attributes:
        tokens: of a reply.
        seconds: from the request to the end of the reply.
        body_bytes: of a request.
        body_seconds: for the body to come.
    """

    tokens: int
    seconds: float
    body_bytes: int = 1_000_000
    body_seconds: float = 15.0


class Api:
    """The handlers of all routes.

    Args:
        model: the loaded bundle.
        name: its id.
        scheduler: generates replies.
        metrics: counted here.
        limits: of a request.
        log_conversations: whether what is said may be logged.
    """

    def __init__(
        self,
        model: ChatModel,
        name: str,
        scheduler: Scheduler,
        metrics: Metrics,
        limits: Limits,
        log_conversations: bool,
    ) -> None:
        self._model, self._name, self._scheduler = model, name, scheduler
        self._metrics, self._limits, self._log_conversations = metrics, limits, log_conversations
        self._created = int(time.time())
        self._page = files("tinylm.runtime.server").joinpath("page.html").read_bytes()
        self._page_headers = page_headers(self._page)
        self._document = msgspec.json.encode(document(__version__))

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            Route("/", self.page),
            Route("/favicon.ico", self.no_icon),
            Route("/health", self.health),
            Route("/metrics", self.metrics),
            Route("/openapi.json", self.openapi),
            Route("/v1/models", self.models),
            Route("/v1/models/{name:path}", self.one_model),
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/completions", self.complete, methods=["POST"]),
        ]

    async def page(self, _: HttpRequest) -> Response:
        """The chat page."""
        return Response(self._page, media_type="text/html", headers=self._page_headers)

    async def no_icon(self, _: HttpRequest) -> Response:
        """Browsers ask for one of every site."""
        return Response(status_code=204)

    async def health(self, _: HttpRequest) -> Response:
        """Whether requests are taken."""
        if self._scheduler.closed:
            raise shutting_down()
        return _json({"status": "ok"})

    async def metrics(self, _: HttpRequest) -> Response:
        """For Prometheus."""
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4")

    async def openapi(self, _: HttpRequest) -> Response:
        """What this server takes and answers."""
        return Response(self._document, media_type="application/json")

    async def models(self, _: HttpRequest) -> Response:
        """The one model."""
        return _json({"object": "list", "data": [self._about_model()]})

    async def one_model(self, request: HttpRequest) -> Response:
        """The same by its id."""
        self._check_model(request.path_params["name"])
        return _json(self._about_model())

    async def chat(self, request: HttpRequest) -> Response | EventStream:
        """OpenAI's chat completions."""
        asked = parse(await self._body(request), ChatRequest)
        self._check_model(asked.model)
        if not self._model.manifest.chat:
            raise invalid("this model was never fine-tuned on conversations: use /v1/completions", "model", "no_chat")
        options = self._options(asked)
        conversation = conversation_of(asked.messages)
        self._check_length([message["content"] for message in conversation], "messages")
        return await self._reply(request, asked, encode_prompt(self._model.tokenizer, conversation), options)

    async def complete(self, request: HttpRequest) -> Response | EventStream:
        """OpenAI's completions."""
        asked = parse(await self._body(request), CompletionRequest)
        self._check_model(asked.model)
        options = self._options(asked)
        text = asked.prompt if isinstance(asked.prompt, str) else asked.prompt[0]
        self._check_length([text], "prompt")
        tokenizer = self._model.tokenizer
        return await self._reply(request, asked, encode_text_prompt(tokenizer, text), options)

    async def _reply(
        self, request: HttpRequest, asked: Request, prompt: list[int], options: SamplingOptions
    ) -> Response | EventStream:
        is_chat = isinstance(asked, ChatRequest)
        self._check_tokens(len(prompt), "messages" if is_chat else "prompt")
        job = Job(prompt, options, self._limits.seconds, asked.stream)
        answer = Answer(self._name, is_chat)

        def cancel() -> None:
            self._scheduler.cancel(job)

        def done() -> None:
            cancel()
            self._metrics.replied(job)
            if self._log_conversations:
                said = job.result.reply if job.result else None
                log.info("prompt %r, reply %r", self._model.tokenizer.decode(prompt), said)

        self._scheduler.submit(job)
        if asked.stream:
            async with watched(request.receive, cancel):
                await job.begun()
            include_usage = asked.stream_options is not None and asked.stream_options.include_usage
            return EventStream(job, answer, include_usage, cancel, done)
        try:
            async with watched(request.receive, cancel):
                return _json(answer.whole(await job.finished()))
        finally:
            done()

    def _options(self, asked: Request) -> SamplingOptions:
        defaults = self._model.default_options()
        if asked.stream_options is not None and not asked.stream:
            raise invalid("stream_options is for streams: set stream to true", "stream_options")
        return sampling_of(asked, defaults, self._model.tokenizer.vocab_size, self._limits.tokens)

    def _about_model(self) -> dict[str, Any]:
        return {
            "id": self._name,
            "object": "model",
            "created": self._created,
            "owned_by": "tinylm",
            "context_length": self._model.session.context_length,
        }

    def _check_model(self, name: str | None) -> None:
        if name not in (None, self._name):
            raise ApiError(404, f"there is no such model here, only {self._name}", "model_not_found", "model")

    def _check_length(self, texts: list[str], param: str) -> None:
        """Refuse what cannot fit before it is tokenized, which takes long for megabytes."""
        self._check_tokens(sum(map(self._model.tokenizer.least_tokens, texts)), param, " or more")

    def _check_tokens(self, count: int, param: str, or_more: str = "") -> None:
        context = self._model.session.context_length
        if count >= context:
            raise invalid(
                f"the prompt has {count:,} tokens{or_more}, but the model's context holds {context:,} with the reply: "
                "shorten it, or leave out the oldest messages",
                param,
                "context_length_exceeded",
            )

    async def _body(self, request: HttpRequest) -> bytes:
        """All of a request's body, within its limits."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise ApiError(415, "send the body as JSON, with Content-Type: application/json", "unsupported_media_type")
        most = self._limits.body_bytes
        too_long = ApiError(413, f"the body is longer than {most:,} bytes", "body_too_long")
        if int(request.headers.get("content-length", 0)) > most:
            raise too_long
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                async for part in request.stream():
                    body += part
                    if len(body) > most:
                        raise too_long
        except TimeoutError:
            raise ApiError(408, "the body did not come in time", "request_timeout") from None
        except ClientDisconnect:
            raise ApiError(499, "the client has left", "cancelled") from None
        return bytes(body)


def create_app(
    model: ChatModel,
    name: str,
    scheduler: Scheduler,
    metrics: Metrics,
    limits: Limits,
    access: Access,
    log_conversations: bool = False,
) -> ASGIApp:
    """The ASGI application: see `Api` for the arguments, and `Access`."""
    api = Api(model, name, scheduler, metrics, limits, log_conversations)
    handlers: Mapping[Any, Any] = {HTTPException: _http_error, ApiError: _api_error}
    app: ASGIApp = Starlette(routes=api.routes(), exception_handlers=handlers)
    app = Guard(app, access)
    if access.origins:
        app = CORSMiddleware(
            app,
            allow_origins=list(access.origins),
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type"],
            expose_headers=["retry-after"],
        )
    return Frame(app, metrics, {route.path for route in api.routes()})


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status, headers, "application/json")


async def _api_error(_: HttpRequest, error: ApiError) -> Response:
    return _json(error.body, error.status, error.headers)


async def _http_error(_: HttpRequest, error: HTTPException) -> Response:
    codes = {404: "not_found", 405: "method_not_allowed"}
    messages = {404: "there is nothing at this address", 405: "this address does not take this method"}
    status = error.status_code
    known = ApiError(status, messages.get(status, str(error.detail)), codes.get(status, "invalid_request"))
    return _json(known.body, status, error.headers)
