"""OpenAI's requests: what is understood, what may be said without effect, and what is refused by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from tinylm.chat_format import Conversation, Message
from tinylm.errors import ConfigError
from tinylm.runtime.sampling import SamplingOptions
from tinylm.runtime.server.errors import ApiError, invalid

MAX_MESSAGES = 512
MAX_STOPS = 16
MAX_STOP_LENGTH = 256

StopText = Annotated[str, Meta(min_length=1, max_length=MAX_STOP_LENGTH)]
SeveralStops = Annotated[list[StopText], Meta(max_length=MAX_STOPS)]


class TextPart(Struct, forbid_unknown_fields=True):
    """A part of a message."""

    type: Literal["text"]
    text: str


class ChatMessage(Struct, forbid_unknown_fields=True):
    """A turn; `developer` is another name for `system`."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]


class StreamOptions(Struct, forbid_unknown_fields=True):
    """What a stream tells beside the text."""

    include_usage: bool = False
    include_obfuscation: Literal[False] = False


class Request(Struct, forbid_unknown_fields=True, kw_only=True):
    """What chats and completions have in common."""

    model: str | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Meta(ge=0.01, le=100)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    stop: StopText | SeveralStops | None = None
    logit_bias: dict[str, Annotated[float, Meta(ge=-100, le=100)]] | None = None


class ChatRequest(Request, kw_only=True):
    """The body of `/v1/chat/completions`."""

    messages: Annotated[list[ChatMessage], Meta(min_length=1, max_length=MAX_MESSAGES)]
    max_completion_tokens: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None


class CompletionRequest(Request, kw_only=True):
    """The body of `/v1/completions`."""

    prompt: str | Annotated[list[str], Meta(min_length=1, max_length=1)]


def _anything(_: Any) -> bool:
    return True


def _one_of(*values: Any) -> Callable[[Any], bool]:
    # True is 1 and False is 0 to Python, but not to JSON
    return lambda value: any(value == other and isinstance(value, bool) == isinstance(other, bool) for other in values)


HARMLESS: Mapping[str, Callable[[Any], bool]] = {
    # Labels
    "user": _anything,
    "metadata": _anything,
    "safety_identifier": _anything,
    "prompt_cache_key": _anything,
    "prompt_cache_retention": _anything,
    # Values that equal what is done anyway
    "n": _one_of(1),
    "best_of": _one_of(1),
    "echo": _one_of(False),
    "suffix": _one_of(""),
    "store": _one_of(False),
    "logprobs": _one_of(False),
    "top_logprobs": _one_of(0),
    "presence_penalty": _one_of(0),
    "frequency_penalty": _one_of(0),
    "tools": _one_of([]),
    "tool_choice": _one_of("none", "auto"),
    "parallel_tool_calls": lambda value: isinstance(value, bool),
    "functions": _one_of([]),
    "function_call": _one_of("none", "auto"),
    "response_format": _one_of({"type": "text"}),
    "modalities": _one_of(["text"]),
    "service_tier": _one_of("auto", "default"),
}
"""Parameters that are not supported, and which of their values change nothing; null never does."""

_EMPTY_IN_MESSAGES = ("tool_calls", "annotations")
_PATH = re.compile(r" - at `(?:key(?:s)? in )?\$\.?([^`]*)`")
_UNKNOWN = re.compile(r"Object contains unknown field `([^`]*)`")

R = TypeVar("R", bound=Request)


def parse(body: bytes, kind: type[R]) -> R:
    """A request's body.

    Raises:
        ApiError: it is no JSON object of this kind, or asks for what is not supported.
    """
    try:
        values = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(f"the body is not JSON ({error})", code="invalid_json") from None
    if not isinstance(values, dict):
        raise invalid("the body must be a JSON object", code="invalid_json")
    known = {field.name for field in msgspec.structs.fields(kind)}
    wanted = {}
    for name, value in values.items():
        if value is None:
            continue
        if name in known:
            wanted[name] = value
        elif name not in HARMLESS:
            raise _unsupported(name)
        elif not HARMLESS[name](value):
            raise _unsupported(name, value=True)
    if isinstance(wanted.get("messages"), list):
        wanted["messages"] = [_without_nothing(message) for message in wanted["messages"]]
    try:
        return msgspec.convert(wanted, kind)
    except msgspec.ValidationError as error:
        raise _wrong(str(error)) from None


def _without_nothing(message: Any) -> Any:
    """A message without the members that say nothing, as clients send back what they were answered."""
    if not isinstance(message, dict):
        return message
    return {
        name: value
        for name, value in message.items()
        if value is not None and not (name in _EMPTY_IN_MESSAGES and value == [])
    }


def _unsupported(name: str, value: bool = False) -> ApiError:
    what = "this value of it is not supported" if value else "not supported by this server"
    return invalid(f"{_shown(name)}: {what}; leave it out", name[:100], "unsupported_parameter")


def _wrong(problem: str) -> ApiError:
    """From msgspec's message to one that names the parameter."""
    place = _PATH.search(problem)
    param = place[1] if place else ""
    problem = _PATH.sub("", problem)
    unknown = _UNKNOWN.search(problem)
    if unknown:
        param = f"{param}.{unknown[1]}" if param else unknown[1]
        return _unsupported(param)
    missing = re.search(r"missing required field `([^`]*)`", problem)
    if missing:
        param = f"{param}.{missing[1]}" if param else missing[1]
        return invalid(f"{param} is missing", param, "missing_required_parameter")
    return invalid(f"{_shown(param)}: {problem[:1].lower()}{problem[1:]}", param or None)


def _shown(name: str) -> str:
    return repr(name[:100])[1:-1] or "the body"


def conversation_of(messages: list[ChatMessage]) -> Conversation:
    """The conversation that is to be answered.

    Raises:
        ApiError: a system message is not the first, or the last message is not the user's.
    """
    conversation: Conversation = []
    for number, message in enumerate(messages):
        role = "system" if message.role == "developer" else message.role
        if role == "system" and number:
            raise invalid("a system message must be the first of a conversation", f"messages[{number}].role")
        content = message.content
        text = content if isinstance(content, str) else "".join(part.text for part in content)
        if role == "system" and not text:
            continue  # the chat's own: an empty one is none
        conversation.append(Message(role=role, content=text))
    if messages[-1].role != "user":
        raise invalid("the last message must be the user's", f"messages[{len(messages) - 1}].role")
    if not conversation[-1]["content"].strip():
        raise invalid("the message is empty", f"messages[{len(messages) - 1}].content")
    return conversation


def sampling_of(request: Request, defaults: SamplingOptions, vocab_size: int, most_tokens: int) -> SamplingOptions:
    """How a request's reply is sampled.

    Args:
        request: what it does not say is as in `defaults`.
        defaults: of the bundle.
        vocab_size: of the model.
        most_tokens: of a reply; more are asked for in vain.

    Raises:
        ApiError: a value is impossible.
    """
    tokens = request.max_tokens
    if isinstance(request, ChatRequest) and request.max_completion_tokens is not None:
        if tokens not in (None, request.max_completion_tokens):
            raise invalid("max_tokens and max_completion_tokens differ: give one of them", "max_tokens")
        tokens = request.max_completion_tokens
    values = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "min_p": request.min_p,
        "repetition_penalty": request.repetition_penalty,
        "seed": request.seed if request.seed in (None, -1) else request.seed % 2**64,
        "max_new_tokens": min(tokens or defaults.max_new_tokens, most_tokens),
        "stop": [request.stop] if isinstance(request.stop, str) else request.stop,
        "logit_bias": _logit_bias(request.logit_bias or {}, vocab_size),
    }
    try:
        changes = {name: value for name, value in values.items() if value is not None}
        return SamplingOptions(**{**_fields(defaults), **changes})
    except ConfigError as error:
        raise invalid(str(error)) from None


def _fields(options: SamplingOptions) -> dict[str, Any]:
    return {name: getattr(options, name) for name in ("temperature", "top_k", "top_p")}


def _logit_bias(biases: Mapping[str, float], vocab_size: int) -> dict[int, float]:
    found = {}
    for name, bias in biases.items():
        if not (name.isascii() and name.isdecimal() and len(name) < 10 and int(name) < vocab_size):
            raise invalid(f"logit_bias: there is no token {_shown(name)} in {vocab_size:,}", "logit_bias")
        found[int(name)] = bias
    return found
