"""From a request's body to its replies: what all APIs have in common."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import msgspec
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from tinylm.errors import ConfigError
from tinylm.runtime.constraint import constraint_of
from tinylm.runtime.sampling import SamplingOptions
from tinylm.runtime.server.errors import ApiError, client_left, invalid
from tinylm.runtime.server.metrics import Metrics
from tinylm.runtime.server.models import Models, ServedModel
from tinylm.runtime.server.replies import Job, Replies, ReplyTask
from tinylm.runtime.server.responses import Answer
from tinylm.runtime.server.scheduler import Scheduler
from tinylm.runtime.server.sse import StreamedResponse, watched
from tinylm.runtime.server.tolerance import Ignored, Rules, parse, shown_name

log = logging.getLogger("tinylm.serve")

_MOST_NOTED = 1000

R = TypeVar("R", bound=msgspec.Struct)


@dataclass(frozen=True)
class Limits:
    """What one request may take.

    Attributes:
        tokens: of a reply.
        seconds: from the request to the end of a reply.
        body_bytes: of a request.
        body_seconds: for the body to arrive.
        strict: whether parameters are refused that could be passed over.
    """

    tokens: int
    seconds: float
    body_bytes: int = 1_000_000
    body_seconds: float = 15.0
    strict: bool = False


class Dispatcher:
    """Reads requests, has their replies generated, and sends them.

    Args:
        models: that are served.
        scheduler: generates replies.
        metrics: counts them.
        limits: of a request.
        log_conversations: whether prompts and replies may be logged.
    """

    def __init__(
        self, models: Models, scheduler: Scheduler, metrics: Metrics, limits: Limits, log_conversations: bool = False
    ) -> None:
        self.models, self.limits = models, limits
        self._scheduler, self._metrics, self._log_conversations = scheduler, metrics, log_conversations
        self._noted: set[str] = set()

    async def read(self, request: HttpRequest, kind: type[R], rules: Rules) -> tuple[R, Ignored]:
        """A request's body as a type, and what of it is passed over.

        Raises:
            ApiError: it is too long, too slow, no JSON of this type, or asks for what is not supported.
        """
        return parse(await self._body(request), kind, rules, self.limits.strict)

    def note(self, ignored: Ignored) -> None:
        """Log what was passed over, each name once."""
        for name in ignored.names:
            if name not in self._noted and len(self._noted) < _MOST_NOTED:
                self._noted.add(name)
                log.warning("Passed over in requests: %s. --strict refuses it.", shown_name(name))

    async def answer(
        self,
        request: HttpRequest,
        tasks: Sequence[ReplyTask],
        answer: Callable[[Sequence[Job]], Answer],
        stream: bool,
        ignored: Ignored,
    ) -> Response | StreamedResponse:
        """Generate the replies of a request and respond.

        Args:
            request: as it came.
            tasks: the replies.
            answer: makes the form of the response, for the replies in progress.
            stream: whether they are sent as they are generated.
            ignored: what of the request is passed over.

        Raises:
            ApiError: the server is busy, or a reply failed before it began.
        """
        self.note(ignored)
        replies = Replies(tasks, self.limits.seconds, stream)
        form = answer(replies.jobs)

        def cancel() -> None:
            self._scheduler.cancel(replies.jobs)

        def done() -> None:
            cancel()
            for job in replies.jobs:
                self._metrics.replied(job)
                self._log_reply(job)

        self._scheduler.submit(replies.jobs)
        if stream:
            async with watched(request.receive, cancel):
                await replies.begun()
            return StreamedResponse(replies, form, ignored.headers, cancel, done)
        try:
            async with watched(request.receive, cancel):
                return json_response(form.whole(await replies.finished()), headers=ignored.headers)
        finally:
            done()

    async def constrained(
        self, model: ServedModel, options: SamplingOptions, schema: Mapping[str, Any] | None, param: str
    ) -> SamplingOptions:
        """Sampling options for replies that follow a JSON schema.

        Args:
            model: that replies.
            options: without it.
            schema: None changes nothing.
            param: the request's parameter for it.

        Raises:
            ApiError: the schema cannot be enforced.
        """
        if schema is None:
            return options
        constrained = replace(options, json_schema=schema)
        try:
            await asyncio.to_thread(constraint_of, model.tokenizer, constrained)
        except ConfigError as error:
            raise invalid(str(error), param) from None
        return constrained

    def check_length(self, model: ServedModel, texts: Sequence[str], param: str) -> None:
        """Refuse texts that cannot fit into the context, before they are tokenized: megabytes take long.

        Raises:
            ApiError: they are too long.
        """
        _check_tokens(model, sum(map(model.tokenizer.least_tokens, texts)), param, " or more")

    def check_tokens(self, model: ServedModel, count: int, param: str) -> None:
        """Refuse a prompt that leaves no room for a token of the reply.

        Raises:
            ApiError: it is too long.
        """
        _check_tokens(model, count, param)

    def _log_reply(self, job: Job) -> None:
        if self._log_conversations:
            said = job.result.reply if job.result else None
            log.info("prompt %r, reply %r", job.task.model.tokenizer.decode(job.task.prompt), said)

    async def _body(self, request: HttpRequest) -> bytes:
        """All of a request's body, within its limits."""
        most = self.limits.body_bytes
        too_long = ApiError(413, f"the body is longer than {most:,} bytes", "body_too_long")
        if int(request.headers.get("content-length", 0)) > most:
            raise too_long
        body = bytearray()
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                async for part in request.stream():
                    body += part
                    if len(body) > most:
                        raise too_long
        except TimeoutError:
            raise ApiError(408, "the body did not come in time", "request_timeout") from None
        except ClientDisconnect:
            raise client_left() from None
        return bytes(body)


def check_json(request: HttpRequest) -> None:
    """Refuse a body that is not sent as JSON: browsers let any page send other types without asking first.

    Raises:
        ApiError: it is not.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(415, "send the body as JSON, with Content-Type: application/json", "unsupported_media_type")


def json_response(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A response of JSON."""
    return Response(msgspec.json.encode(value), status, headers, "application/json")


def _check_tokens(model: ServedModel, count: int, param: str, or_more: str = "") -> None:
    context = model.context_length
    if count >= context:
        raise invalid(
            f"the prompt has {count:,} tokens{or_more}, but the model's context holds {context:,} with the reply: "
            "shorten it, or leave out the oldest messages",
            param,
            "context_length_exceeded",
        )
