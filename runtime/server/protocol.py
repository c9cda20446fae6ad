"""Requests of OpenAI's completions and chat completions, and how they become prompts and sampling options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from tinylm.chat_format import Conversation, Message, encode_continuation, encode_prompt, encode_text_prompt
from tinylm.errors import ConfigError
from tinylm.runtime.logprobs import MAX_ALTERNATIVES
from tinylm.runtime.sampling import SamplingOptions
from tinylm.runtime.server.errors import invalid
from tinylm.runtime.server.tolerance import Ignored, Rules, anything, one_of
from tinylm.tokenizer import Tokenizer

MAX_MESSAGES = 512
MAX_STOPS = 16
MAX_STOP_LENGTH = 256
MAX_PROMPTS = 256
MAX_CHOICES = 8
_MOST = 2**31 - 1

StopText = Annotated[str, Meta(min_length=1, max_length=MAX_STOP_LENGTH)]
SeveralStops = Annotated[list[StopText], Meta(max_length=MAX_STOPS)]
Choices = Annotated[int, Meta(ge=1, le=MAX_CHOICES)]
Length = Annotated[int, Meta(ge=-1, le=_MOST)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Bias = Annotated[float, Meta(ge=-100, le=100)]
TokenId = Annotated[int, Meta(ge=0, le=_MOST)]


class TextPart(Struct, forbid_unknown_fields=True):
    """A part of a message."""

    type: Literal["text", "input_text", "output_text"]
    text: str


class ChatMessage(Struct, forbid_unknown_fields=True):
    """A turn; `developer` is another name for `system`."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart] | None = None

    @property
    def text(self) -> str | None:
        """All of its text."""
        if self.content is None or isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


class StreamOptions(Struct, forbid_unknown_fields=True):
    """What a stream contains beside the text."""

    include_usage: bool = False
    include_obfuscation: Literal[False] = False


class JsonSchema(Struct, forbid_unknown_fields=True):
    """A schema with a name, as OpenAI's API has it."""

    schema: dict[str, Any] = {}
    name: str = ""
    description: str = ""
    strict: bool = False


class ResponseFormat(Struct, forbid_unknown_fields=True):
    """The form of a reply; the schema belongs to `json_schema`."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class SamplingRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """Parameters of sampling that all of OpenAI's APIs share, and those of other servers that go with them."""

    temperature: Annotated[float, Meta(ge=0, le=100)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=-1, le=_MOST)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Meta(ge=0.01, le=100)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: StopText | SeveralStops | None = None
    logit_bias: dict[str, Bias] | None = None


class Request(SamplingRequest, kw_only=True):
    """What chats and completions have in common."""

    model: str | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Length | None = None
    n: Choices = 1


class ChatRequest(Request, kw_only=True):
    """The body of `/v1/chat/completions`."""

    messages: Annotated[list[ChatMessage], Meta(min_length=1, max_length=MAX_MESSAGES)]
    max_completion_tokens: Length | None = None
    response_format: ResponseFormat | None = None
    logprobs: bool = False
    top_logprobs: Annotated[int, Meta(ge=0, le=MAX_ALTERNATIVES)] | None = None


class CompletionRequest(Request, kw_only=True):
    """The body of `/v1/completions`."""

    prompt: str | Annotated[list[str | TokenId | list[TokenId]], Meta(min_length=1)]
    best_of: Choices | None = None
    echo: bool = False
    logprobs: Annotated[int, Meta(ge=0, le=MAX_ALTERNATIVES)] | None = None


OPENAI_RULES = Rules(
    harmless={
        # Labels
        "user": anything,
        "metadata": anything,
        "safety_identifier": anything,
        "prompt_cache_key": anything,
        "prompt_cache_retention": anything,
        # Values that are what is done anyway
        "suffix": one_of(""),
        "store": one_of(False),
        "best_of": one_of(1),
        "echo": one_of(False),
        "logprobs": one_of(False),
        "top_logprobs": one_of(0),
        "tools": one_of([]),
        "tool_choice": one_of("none", "auto"),
        "parallel_tool_calls": lambda value: isinstance(value, bool),
        "functions": one_of([]),
        "function_call": one_of("none", "auto"),
        "response_format": one_of({"type": "text"}),
        "modalities": one_of(["text"]),
        "service_tier": one_of("auto", "default"),
    },
    refused=frozenset(
        {
            "suffix",
            "best_of",
            "echo",
            "logprobs",
            "top_logprobs",
            "tool_choice",
            "function_call",
            "response_format",
            "modalities",
            "audio",
            "web_search_options",
            # How other servers ask for replies of a form
            "grammar",
            "json_schema",
            "structured_outputs",
            "guided_json",
            "guided_regex",
            "guided_choice",
            "guided_grammar",
        }
    ),
)
"""What becomes of parameters that are not in the types above."""


@dataclass(frozen=True)
class Prompt:
    """What a reply goes on from.

    Attributes:
        ids: token ids, `<bos>` first.
        added: how many of the first ids the request does not hold itself: 1 where `<bos>` was put before it.
    """

    ids: list[int]
    added: int = 1


def conversation_of(messages: Sequence[ChatMessage], strict: bool, ignored: Ignored) -> tuple[Conversation, bool]:
    """The conversation that is to be continued.

    System messages become one, at the beginning. The last message is the user's, or the assistant's unfinished one.

    Args:
        messages: as they came.
        strict: whether the system message must be the first, and the last the user's.
        ignored: notes system messages whose place is not kept.

    Returns:
        the messages, and whether the last one is to be continued.

    Raises:
        ApiError: a message is in the wrong place, or has no content.
    """
    system: list[str] = []
    conversation: Conversation = []
    for number, message in enumerate(messages):
        text = message.text
        if text is None:
            if strict or message.role != "assistant":
                raise invalid(
                    f"messages[{number}].content is missing", f"messages[{number}].content", "missing_content"
                )
            text = ""  # an empty reply, as it was answered
        if message.role in ("system", "developer"):
            if strict and number:
                raise invalid("a system message must be the first of a conversation", f"messages[{number}].role")
            if conversation and text:
                ignored.add("messages[].role (system: moved to the beginning)")
            system += [text] if text else []
        else:
            conversation.append(Message(role="user" if message.role == "user" else "assistant", content=text))
    last, place = messages[-1], f"messages[{len(messages) - 1}]"
    if strict and last.role != "user":
        raise invalid("the last message must be the user's", f"{place}.role")
    if last.role == "user" and not conversation[-1]["content"].strip():
        raise invalid("the message is empty", f"{place}.content")
    if system:
        conversation.insert(0, Message(role="system", content="\n\n".join(system)))
    if not conversation:
        raise invalid("there is nothing to reply to: all messages are empty", "messages")
    return conversation, last.role == "assistant"


def chat_prompt(tokenizer: Tokenizer, conversation: Conversation, unfinished: bool) -> Prompt:
    """A conversation as token ids, up to where the assistant's reply begins or goes on."""
    encode = encode_continuation if unfinished else encode_prompt
    return Prompt(encode(tokenizer, conversation))


def completion_prompts(tokenizer: Tokenizer, prompt: str | list[str | int | list[int]]) -> list[Prompt]:
    """The prompts of a request: a text, several texts, token ids, or several lists of them.

    `<bos>` is put before those that do not begin with it.

    Raises:
        ApiError: there are too many, or an id is not in the vocabulary.
    """
    if isinstance(prompt, str):
        return [_text_prompt(tokenizer, prompt)]
    ids = [part for part in prompt if isinstance(part, int)]
    if len(ids) == len(prompt):
        return [_id_prompt(tokenizer, ids)]
    if ids:
        raise invalid("prompt: token ids of several prompts must be lists of their own", "prompt")
    if len(prompt) > MAX_PROMPTS:
        raise invalid(f"prompt: {len(prompt):,} prompts are more than {MAX_PROMPTS} in one request", "prompt")
    texts = [part for part in prompt if isinstance(part, str)]
    lists = [part for part in prompt if isinstance(part, list)]
    if texts and lists:
        raise invalid("prompt: give texts or token ids, not both", "prompt")
    return [*(_text_prompt(tokenizer, text) for text in texts), *(_id_prompt(tokenizer, part) for part in lists)]


def _text_prompt(tokenizer: Tokenizer, text: str) -> Prompt:
    return Prompt(encode_text_prompt(tokenizer, text))


def _id_prompt(tokenizer: Tokenizer, ids: list[int]) -> Prompt:
    wrong = next((id_ for id_ in ids if id_ >= tokenizer.vocab_size), None)
    if wrong is not None:
        raise invalid(f"prompt: there is no token {wrong} in {tokenizer.vocab_size:,}", "prompt")
    if ids[:1] == [tokenizer.bos_id]:
        return Prompt(ids, added=0)
    return Prompt([tokenizer.bos_id, *ids])


def sampling_of(request: SamplingRequest, defaults: SamplingOptions, vocab_size: int, length: int) -> SamplingOptions:
    """How a request's replies are sampled.

    Args:
        request: what it does not set is as in `defaults`.
        defaults: of the bundle.
        vocab_size: of the model.
        length: of a reply in tokens, at most.

    Raises:
        ApiError: a value is impossible.
    """
    values: dict[str, Any] = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "min_p": request.min_p,
        "repetition_penalty": request.repetition_penalty,
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
        "seed": request.seed if request.seed in (None, -1) else request.seed % 2**64,
        "max_new_tokens": length,
        "stop": [request.stop] if isinstance(request.stop, str) else request.stop,
        "logit_bias": _logit_bias(request.logit_bias or {}, vocab_size),
    }
    try:
        return replace(defaults, **{name: value for name, value in values.items() if value is not None})
    except ConfigError as error:
        raise invalid(str(error)) from None


def schema_of(kind: str, schema: Mapping[str, Any] | None, param: str) -> Mapping[str, Any] | None:
    """The JSON schema that a reply must follow; None for text.

    Args:
        kind: `text`, `json_object` or `json_schema`.
        schema: where there is one.
        param: the request's parameter for it.

    Raises:
        ApiError: the schema is missing.
    """
    if kind == "json_schema":
        if schema is None:
            raise invalid(f"{param} is missing", param, "missing_required_parameter")
        return schema
    return {"type": "object"} if kind == "json_object" else None


def reply_length(asked: int | None, default: int, most: int) -> int:
    """Tokens that a reply may have.

    Args:
        asked: by the request; -1 asks for as many as possible, None for nothing in particular.
        default: of the bundle.
        most: that the server allows.
    """
    wanted = default if asked is None else asked
    return most if wanted == -1 else max(1, min(wanted, most))


def numbered(options: SamplingOptions, number: int) -> SamplingOptions:
    """The options of one of several replies to a prompt: with a seed, each has another one."""
    return options if options.seed is None else replace(options, seed=(options.seed + number) % 2**64)


def _logit_bias(biases: Mapping[str, float], vocab_size: int) -> dict[int, float]:
    found = {}
    for name, bias in biases.items():
        if not (name.isascii() and name.isdecimal() and len(name) < 10 and int(name) < vocab_size):
            raise invalid(f"logit_bias: there is no token {name[:20]!r} in {vocab_size:,}", "logit_bias")
        found[int(name)] = bias
    return found
