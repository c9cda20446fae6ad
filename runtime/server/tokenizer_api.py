"""Text to token ids and back, at the addresses where vLLM's server has it: `lm-evaluation-harness` looks for them."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, field
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from tinylm.runtime.server.dispatch import Dispatcher, check_json, json_response
from tinylm.runtime.server.errors import invalid
from tinylm.runtime.server.logprob_formats import token_text
from tinylm.runtime.server.openai_api import check_chat
from tinylm.runtime.server.protocol import MAX_MESSAGES, ChatMessage, TokenId, chat_prompt, conversation_of
from tinylm.runtime.server.tolerance import Rules
from tinylm.tokenizer import Tokenizer

TOKENIZE_RULES = Rules(harmless={}, refused=frozenset())


class TokenizeRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of `/tokenize`: a text or a conversation."""

    prompt: str | None = None
    messages: Annotated[list[ChatMessage], Meta(max_length=MAX_MESSAGES)] = field(default_factory=list)
    model: str | None = None
    add_special_tokens: bool = True
    return_token_strs: bool = False


class DetokenizeRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of `/detokenize`."""

    tokens: list[TokenId]
    model: str | None = None


class TokenizerApi:
    """Handlers of `/tokenize`, `/detokenize` and `/tokenizer_info`.

    Args:
        dispatcher: reads requests.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def routes(self) -> list[Route]:
        """All routes."""
        return [
            Route("/tokenize", self.tokenize, methods=["POST"]),
            Route("/detokenize", self.detokenize, methods=["POST"]),
            Route("/tokenizer_info", self.info),
        ]

    async def tokenize(self, request: HttpRequest) -> Response:
        """The token ids of a text, `<bos>` first where special tokens are wanted; or of a conversation."""
        check_json(request)
        asked, ignored = await self._dispatcher.read(request, TokenizeRequest, TOKENIZE_RULES)
        model = self._dispatcher.models.get(asked.model)
        tokenizer = model.tokenizer
        if (asked.prompt is None) == (not asked.messages):
            raise invalid("give prompt or messages, one of them", "prompt")
        if asked.prompt is None:
            check_chat(model)
            conversation, unfinished = conversation_of(asked.messages, self._dispatcher.limits.strict, ignored)
            ids = chat_prompt(tokenizer, conversation, unfinished).ids
        elif asked.prompt in (symbols := _symbols(tokenizer)):
            # By name, which no text can be: how clients find out about them
            ids = [symbols[asked.prompt]]
        else:
            ids = [*[tokenizer.bos_id] * asked.add_special_tokens, *tokenizer.encode(asked.prompt)]
        strings = [token_text(tokenizer, id_) for id_ in ids] if asked.return_token_strs else None
        body = {"count": len(ids), "max_model_len": model.context_length, "tokens": ids, "token_strs": strings}
        return json_response(body, headers=ignored.headers)

    async def detokenize(self, request: HttpRequest) -> Response:
        """The text of token ids; control symbols have none."""
        check_json(request)
        asked, ignored = await self._dispatcher.read(request, DetokenizeRequest, TOKENIZE_RULES)
        tokenizer = self._dispatcher.models.get(asked.model).tokenizer
        wrong = next((id_ for id_ in asked.tokens if id_ >= tokenizer.vocab_size), None)
        if wrong is not None:
            raise invalid(f"tokens: there is no token {wrong} in {tokenizer.vocab_size:,}", "tokens")
        return json_response({"prompt": tokenizer.decode(asked.tokens)}, headers=ignored.headers)

    async def info(self, _: HttpRequest) -> Response:
        """What kind of tokenizer the first model has."""
        model = self._dispatcher.models.get(None)
        tokenizer = model.tokenizer
        return json_response(
            {
                "tokenizer_class": tokenizer.kind,
                "bos_token": tokenizer.piece_of(tokenizer.bos_id),
                "eos_token": tokenizer.piece_of(tokenizer.eos_id),
                "vocab_size": tokenizer.vocab_size,
                "model_max_length": model.context_length,
            }
        )


def _symbols(tokenizer: Tokenizer) -> dict[str, int]:
    """Name and id of what opens and of what ends a document."""
    return {tokenizer.piece_of(id_): id_ for id_ in (tokenizer.bos_id, tokenizer.eos_id)}
