"""OpenAI's Responses API, for text: nothing is stored, so each request holds its whole conversation."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from tinylm.runtime.logprobs import MAX_ALTERNATIVES, TokenLogprob
from tinylm.runtime.sampling import SamplingOptions
from tinylm.runtime.server.dispatch import Dispatcher, check_json
from tinylm.runtime.server.errors import ApiError, invalid
from tinylm.runtime.server.logprob_formats import chat_logprobs
from tinylm.runtime.server.models import ServedModel
from tinylm.runtime.server.openai_api import check_chat
from tinylm.runtime.server.protocol import (
    MAX_MESSAGES,
    OPENAI_RULES,
    ChatMessage,
    Length,
    SamplingRequest,
    TextPart,
    chat_prompt,
    conversation_of,
    reply_length,
    sampling_of,
    schema_of,
)
from tinylm.runtime.server.replies import Job, Piece, ReplyTask
from tinylm.runtime.server.responses import result_of
from tinylm.runtime.server.sse import StreamedResponse, named_event
from tinylm.runtime.server.tolerance import Ignored, Rules, one_of, unsupported

LOGPROBS = "message.output_text.logprobs"


class InputItem(Struct, forbid_unknown_fields=True, kw_only=True):
    """A message, or what a client sends back of an earlier response."""

    type: Literal["message", "reasoning"] = "message"
    role: Literal["system", "developer", "user", "assistant"] = "user"
    content: str | list[TextPart] | None = None
    id: Any = None
    status: Any = None
    phase: Any = None
    summary: Any = None


class TextFormat(Struct, forbid_unknown_fields=True):
    """The form of the reply; name, description, schema and strictness belong to `json_schema`."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str = ""
    description: str = ""
    schema: dict[str, Any] | None = None
    strict: bool = False


class TextConfig(Struct, forbid_unknown_fields=True):
    """How the reply is written."""

    format: TextFormat | None = None


class ResponsesRequest(SamplingRequest, kw_only=True):
    """The body of `/v1/responses`."""

    input: str | Annotated[list[InputItem], Meta(min_length=1, max_length=MAX_MESSAGES)]
    model: str | None = None
    instructions: str | None = None
    stream: bool = False
    max_output_tokens: Length | None = None
    text: TextConfig | None = None
    include: list[str] = field(default_factory=list)
    top_logprobs: Annotated[int, Meta(ge=0, le=MAX_ALTERNATIVES)] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


RULES = Rules(
    harmless={**OPENAI_RULES.harmless, "background": one_of(False), "truncation": one_of("disabled")},
    refused=OPENAI_RULES.refused | {"previous_response_id", "conversation", "prompt", "background"},
)


class ResponsesApi:
    """The handler of `/v1/responses`.

    Args:
        dispatcher: reads requests and sends replies.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def routes(self) -> list[Route]:
        """All routes."""
        return [Route("/v1/responses", self.respond, methods=["POST"])]

    async def respond(self, request: HttpRequest) -> Response | StreamedResponse:
        """Reply to a text or a conversation."""
        check_json(request)
        dispatcher = self._dispatcher
        asked, ignored = await dispatcher.read(request, ResponsesRequest, RULES)
        model = dispatcher.models.get(asked.model)
        check_chat(model)
        if asked.max_output_tokens == 0:
            raise invalid("max_output_tokens must be at least 1", "max_output_tokens")
        defaults = model.default_options()
        length = reply_length(asked.max_output_tokens, defaults.max_new_tokens, dispatcher.limits.tokens)
        options = sampling_of(asked, defaults, model.tokenizer.vocab_size, length)
        form = _format_of(asked)
        schema = schema_of(form.type, form.schema, "text.format.schema")
        options = await dispatcher.constrained(model, options, schema, "text.format")
        conversation, unfinished = conversation_of(_messages(asked), dispatcher.limits.strict, ignored)
        dispatcher.check_length(model, [message["content"] for message in conversation], "input")
        prompt = chat_prompt(model.tokenizer, conversation, unfinished)
        dispatcher.check_tokens(model, len(prompt.ids), "input")
        with_logprobs = _with_logprobs(asked, dispatcher.limits.strict, ignored)
        alternatives = (asked.top_logprobs or 0) if with_logprobs else None
        task = ReplyTask(model, prompt.ids, options, alternatives)
        answer = ResponsesAnswer(model, asked, options, with_logprobs)
        return await dispatcher.answer(request, [task], lambda _: answer, asked.stream, ignored)


class ResponsesAnswer:
    """A response object, whole or as events.

    Args:
        model: that replies.
        asked: the request.
        options: how the reply is sampled.
        with_logprobs: whether log-probabilities were asked for.
    """

    media_type = "text/event-stream; charset=utf-8"

    def __init__(
        self, model: ServedModel, asked: ResponsesRequest, options: SamplingOptions, with_logprobs: bool
    ) -> None:
        self._tokenizer, self._with_logprobs = model.tokenizer, with_logprobs
        self._item_id = f"msg_{uuid.uuid4().hex}"
        self._number = 0
        self._text = ""
        self._logprobs: list[TokenLogprob] = []
        self._head = {
            "id": f"resp_{uuid.uuid4().hex}",
            "object": "response",
            "created_at": int(time.time()),
            "model": model.name,
            "instructions": asked.instructions,
            "max_output_tokens": asked.max_output_tokens,
            "metadata": asked.metadata,
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "store": False,
            "temperature": options.temperature,
            "text": {"format": _format_values(_format_of(asked))},
            "tool_choice": "auto",
            "tools": [],
            "top_p": options.top_p,
            "truncation": "disabled",
        }

    def whole(self, jobs: Sequence[Job]) -> dict[str, Any]:
        """See `Answer`."""
        (job,) = jobs
        result = result_of(job)
        status = "completed" if result.finish_reason == "stop" else "incomplete"
        reply = result.prompt_tokens, result.completion_tokens
        usage = {
            "input_tokens": reply[0],
            "input_tokens_details": {"cached_tokens": result.reused_tokens, "cache_write_tokens": 0},
            "output_tokens": reply[1],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": sum(reply),
        }
        item = self._item(status, [self._part(result.reply, job.logprobs)])
        return self._response(status, [item], usage)

    def begin(self) -> bytes:
        """See `Answer`."""
        response = self._response("in_progress", [])
        return (
            self._event("response.created", response=response)
            + self._event("response.in_progress", response=response)
            + self._event("response.output_item.added", output_index=0, item=self._item("in_progress", []))
            + self._part_event("response.content_part.added", part=self._part("", ()))
        )

    def pieces(self, pieces: Sequence[Piece]) -> bytes:
        """See `Answer`."""
        events = []
        for piece in pieces:
            self._text += piece.text
            self._logprobs += piece.logprobs
            logprobs = self._listed(piece.logprobs)
            events.append(self._part_event("response.output_text.delta", delta=piece.text, logprobs=logprobs))
        return b"".join(events)

    def end(self, jobs: Sequence[Job]) -> bytes:
        """See `Answer`."""
        response = self.whole(jobs)
        (item,) = response["output"]
        (part,) = item["content"]
        return (
            self._part_event("response.output_text.done", text=part["text"], logprobs=part["logprobs"])
            + self._part_event("response.content_part.done", part=part)
            + self._event("response.output_item.done", output_index=0, item=item)
            + self._event(f"response.{response['status']}", response=response)
        )

    def failed(self, error: ApiError) -> bytes:
        """See `Answer`."""
        item = self._item("incomplete", [self._part(self._text, self._logprobs)])
        response = self._response("failed", [item])
        response["error"] = {"code": "server_error", "message": error.message}
        return self._event("response.failed", response=response)

    def _response(
        self, status: str, output: Sequence[dict[str, Any]], usage: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        details = {"reason": "max_output_tokens"} if status == "incomplete" else None
        more = {"error": None, "incomplete_details": details, "output": output, "usage": usage}
        return {**self._head, "status": status, **more}

    def _item(self, status: str, content: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return {"id": self._item_id, "type": "message", "role": "assistant", "status": status, "content": content}

    def _part(self, text: str, logprobs: Sequence[TokenLogprob]) -> dict[str, Any]:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": self._listed(logprobs)}

    def _listed(self, logprobs: Sequence[TokenLogprob]) -> list[dict[str, Any]]:
        return chat_logprobs(self._tokenizer, logprobs) if self._with_logprobs else []

    def _part_event(self, kind: str, **more: Any) -> bytes:
        return self._event(kind, item_id=self._item_id, output_index=0, content_index=0, **more)

    def _event(self, kind: str, **more: Any) -> bytes:
        number, self._number = self._number, self._number + 1
        return named_event({"type": kind, "sequence_number": number, **more})


def _messages(asked: ResponsesRequest) -> list[ChatMessage]:
    """The conversation of a request; an earlier response's reasoning is no part of it."""
    first = [ChatMessage("system", asked.instructions)] if asked.instructions else []
    if isinstance(asked.input, str):
        return [*first, ChatMessage("user", asked.input)]
    items = [item for item in asked.input if item.type == "message"]
    if not items:
        raise invalid("input: there is no message in it", "input")
    return [*first, *(ChatMessage(item.role, item.content) for item in items)]


def _format_of(asked: ResponsesRequest) -> TextFormat:
    return asked.text.format if asked.text is not None and asked.text.format is not None else TextFormat()


def _format_values(form: TextFormat) -> dict[str, Any]:
    """The form of the reply as the response repeats it."""
    return msgspec.structs.asdict(form) if form.type == "json_schema" else {"type": form.type}


def _with_logprobs(asked: ResponsesRequest, strict: bool, ignored: Ignored) -> bool:
    for name in asked.include:
        if name != LOGPROBS and strict:
            raise unsupported("include", value=True)
        if name != LOGPROBS:
            ignored.add(f"include={name}")
    return LOGPROBS in asked.include or bool(asked.top_logprobs)
