"""Requests and response bodies of Ollama's API (https://docs.ollama.com/api)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from tinylm.runtime.generation import FinishReason
from tinylm.runtime.logprobs import MAX_ALTERNATIVES, TokenLogprob
from tinylm.runtime.sampling import SamplingOptions
from tinylm.runtime.server.errors import ApiError
from tinylm.runtime.server.logprob_formats import chat_logprobs
from tinylm.runtime.server.models import ServedModel
from tinylm.runtime.server.protocol import (
    MAX_MESSAGES,
    Length,
    Penalty,
    SamplingRequest,
    SeveralStops,
    StopText,
    TokenId,
    reply_length,
    sampling_of,
)
from tinylm.runtime.server.replies import Job, Piece
from tinylm.runtime.server.responses import result_of
from tinylm.runtime.server.sse import line
from tinylm.runtime.server.tolerance import Rules, anything, one_of

API_VERSION = "0.12.11"
"""The version of Ollama whose API this is; clients refuse versions that are too old for them."""

_DONE: dict[FinishReason, str] = {"stop": "stop", "length": "length", "context": "length", "cancelled": "length"}
_NS = 1_000_000_000


class OllamaMessage(Struct, forbid_unknown_fields=True):
    """A turn."""

    role: Literal["system", "user", "assistant"]
    content: str | None = None


class OllamaOptions(Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """Parameters of sampling."""

    temperature: Annotated[float, Meta(ge=0, le=100)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Length | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    repeat_penalty: Annotated[float, Meta(ge=0, le=100)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    num_predict: Annotated[int, Meta(ge=-2, le=2**31 - 1)] | None = None
    stop: StopText | SeveralStops | None = None


class OllamaRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """What chats and completions have in common."""

    model: str
    stream: bool = True
    options: OllamaOptions = OllamaOptions()
    format: Literal["", "json"] | dict[str, Any] | None = None
    logprobs: bool = False
    top_logprobs: Annotated[int, Meta(ge=0, le=MAX_ALTERNATIVES)] | None = None


class OllamaChatRequest(OllamaRequest, kw_only=True):
    """The body of `/api/chat`."""

    messages: Annotated[list[OllamaMessage], Meta(max_length=MAX_MESSAGES)] = field(default_factory=list)


class OllamaGenerateRequest(OllamaRequest, kw_only=True):
    """The body of `/api/generate`."""

    prompt: str = ""
    system: str = ""
    raw: bool = False
    context: list[TokenId] = field(default_factory=list)


class OllamaNamed(Struct, kw_only=True):
    """The body of `/api/show`."""

    model: str = ""
    name: str = ""
    verbose: bool = False


OLLAMA_RULES = Rules(
    harmless={
        # Models stay loaded
        "keep_alive": anything,
        "think": one_of(False),
        "tools": one_of([]),
        "suffix": one_of(""),
        "template": one_of(""),
        "images": one_of([]),
    },
    refused=frozenset({"suffix", "images"}),
)
"""What becomes of parameters that are not in the types above."""


def ollama_sampling(asked: OllamaRequest, model: ServedModel, most_tokens: int) -> SamplingOptions:
    """How a request's reply is sampled.

    Raises:
        ApiError: a value is impossible.
    """
    options = asked.options
    defaults = model.default_options()
    wanted = options.num_predict
    length = reply_length(wanted if wanted is None or wanted > 0 else -1, defaults.max_new_tokens, most_tokens)
    values = SamplingRequest(
        temperature=options.temperature,
        top_p=options.top_p,
        top_k=options.top_k,
        min_p=options.min_p,
        # 0 switches it off
        repetition_penalty=options.repeat_penalty or (None if options.repeat_penalty is None else 1.0),
        presence_penalty=options.presence_penalty,
        frequency_penalty=options.frequency_penalty,
        seed=options.seed,
        stop=options.stop,
    )
    return sampling_of(values, defaults, model.tokenizer.vocab_size, length)


def ollama_schema(asked: OllamaRequest) -> Mapping[str, Any] | None:
    """The JSON schema that a request's reply must follow; None for text."""
    if isinstance(asked.format, dict):
        return asked.format
    return {"type": "object"} if asked.format == "json" else None


class OllamaAnswer:
    """A response of `/api/chat` or `/api/generate`, whole or as lines of JSON.

    Args:
        model: that replies.
        name: of the model, as the client gave it.
        chat: whether it answers `/api/chat`.
        with_logprobs: whether log-probabilities were asked for.
        prompt: the prompt's token ids, which `/api/generate` returns with the reply's as the `context` to go on from.
    """

    media_type = "application/x-ndjson"

    def __init__(
        self, model: ServedModel, name: str, chat: bool, with_logprobs: bool, prompt: Sequence[int] | None
    ) -> None:
        self._tokenizer, self._name, self._chat, self._with_logprobs = model.tokenizer, name, chat, with_logprobs
        self._prompt = prompt

    def whole(self, jobs: Sequence[Job]) -> dict[str, Any]:
        """See `Answer`."""
        (job,) = jobs
        return {**self._body(result_of(job).reply, job.logprobs), **self._figures(job)}

    def begin(self) -> bytes:
        """See `Answer`."""
        return b""

    def pieces(self, pieces: Sequence[Piece]) -> bytes:
        """See `Answer`."""
        return b"".join(line({**self._body(piece.text, piece.logprobs), "done": False}) for piece in pieces)

    def end(self, jobs: Sequence[Job]) -> bytes:
        """See `Answer`."""
        (job,) = jobs
        return line({**self._body("", ()), **self._figures(job)})

    def failed(self, error: ApiError) -> bytes:
        """See `Answer`."""
        return line({"error": error.message})

    def loaded(self) -> dict[str, Any]:
        """The response to a request without a prompt, which only asks for the model to be loaded: it is."""
        return {**self._body("", ()), "done": True, "done_reason": "load"}

    def _body(self, text: str, logprobs: Sequence[TokenLogprob]) -> dict[str, Any]:
        said = {"message": {"role": "assistant", "content": text}} if self._chat else {"response": text}
        listed = {"logprobs": chat_logprobs(self._tokenizer, logprobs)} if self._with_logprobs and logprobs else {}
        return {"model": self._name, "created_at": timestamp(), **said, **listed}

    def _figures(self, job: Job) -> dict[str, Any]:
        result = result_of(job)
        started, ended = job.started or job.created, job.ended or job.created
        prompt_s = result.time_to_first_token_s
        context = [] if self._prompt is None else [*self._prompt, *result.ids]
        return {
            "done": True,
            "done_reason": _DONE[result.finish_reason],
            **({"context": context} if self._prompt is not None else {}),
            "total_duration": int((ended - job.created) * _NS),
            "load_duration": 0,
            "prompt_eval_count": result.prompt_tokens,
            "prompt_eval_duration": int(prompt_s * _NS),
            "eval_count": result.completion_tokens,
            "eval_duration": max(1, int((ended - started - prompt_s) * _NS)),
        }


def summary(model: ServedModel) -> dict[str, Any]:
    """A model as `/api/tags` lists it."""
    name = f"{model.name}:latest"
    return {
        "name": name,
        "model": name,
        "modified_at": timestamp(model.created),
        "size": model.size,
        "digest": model.digest,
        "details": details(model),
    }


def details(model: ServedModel) -> dict[str, Any]:
    """What kind of model it is."""
    millions = model.manifest.provenance.parameters / 1e6
    return {
        "parent_model": "",
        "format": "onnx",
        "family": "tinylm",
        "families": ["tinylm"],
        "parameter_size": f"{millions:.1f}M",
        "quantization_level": model.manifest.graph.precision,
    }


def description(model: ServedModel) -> dict[str, Any]:
    """A model as `/api/show` describes it."""
    shape = model.manifest.model
    options = model.default_options()
    parameters = {"temperature": options.temperature, "top_k": options.top_k, "top_p": options.top_p}
    return {
        "modelfile": "",
        "parameters": "\n".join(f"{name:<30} {value:g}" for name, value in parameters.items()),
        "template": "",
        "details": details(model),
        "model_info": {
            "general.architecture": "tinylm",
            "general.parameter_count": model.manifest.provenance.parameters,
            "tinylm.architecture": shape.arch,
            "tinylm.block_count": shape.num_layers,
            "tinylm.context_length": shape.context_length,
            "tinylm.embedding_length": shape.d_model,
            "tinylm.attention.head_count": shape.nhead,
            "tinylm.vocab_size": shape.vocab_size,
        },
        "capabilities": ["completion"],
        "modified_at": timestamp(model.created),
    }


def timestamp(seconds: float | None = None) -> str:
    """A time as RFC 3339 writes it; None: now."""
    moment = datetime.now(UTC) if seconds is None else datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
