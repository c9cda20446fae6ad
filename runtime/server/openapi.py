"""The OpenAPI document, made from the types that requests are read with."""

from __future__ import annotations

from typing import Any

import msgspec

from tinylm.runtime.server.ollama_protocol import OLLAMA_RULES, OllamaChatRequest, OllamaGenerateRequest, OllamaNamed
from tinylm.runtime.server.openai_responses import RULES, ResponsesRequest
from tinylm.runtime.server.protocol import OPENAI_RULES, ChatRequest, CompletionRequest
from tinylm.runtime.server.tokenizer_api import TOKENIZE_RULES, DetokenizeRequest, TokenizeRequest
from tinylm.runtime.server.tolerance import Rules

_ERRORS = {
    "400": "a parameter is wrong or not supported, or the prompt too long",
    "401": "the API key is missing or wrong",
    "403": "the host name or the origin is not allowed",
    "404": "there is no such model",
    "408": "the body did not come in time",
    "413": "the body is too long",
    "415": "the body is not sent as JSON",
    "429": "the queue is full: try again after Retry-After",
    "503": "the server is shutting down, or out of memory",
}

_POSTS: dict[str, tuple[str, type[msgspec.Struct], Rules]] = {
    "/v1/chat/completions": ("Reply to a conversation", ChatRequest, OPENAI_RULES),
    "/v1/completions": ("Continue texts, or score them", CompletionRequest, OPENAI_RULES),
    "/v1/responses": ("Reply to a text or a conversation", ResponsesRequest, RULES),
    "/tokenize": ("The token ids of a text or a conversation", TokenizeRequest, TOKENIZE_RULES),
    "/detokenize": ("The text of token ids", DetokenizeRequest, TOKENIZE_RULES),
    "/api/chat": ("Reply to a conversation", OllamaChatRequest, OLLAMA_RULES),
    "/api/generate": ("Reply to a prompt, or continue a text", OllamaGenerateRequest, OLLAMA_RULES),
    "/api/show": ("Describe a model", OllamaNamed, OLLAMA_RULES),
}
_GETS = {
    "/v1/models": "The models",
    "/tokenizer_info": "The kind of tokenizer",
    "/api/tags": "The models",
    "/api/ps": "The loaded models",
    "/api/version": "The version of Ollama's API",
    "/health": "Whether requests are taken and answered",
}


def document(version: str) -> dict[str, Any]:
    """OpenAPI 3.1 of everything that takes a body or responds with JSON.

    Args:
        version: of TinyLM.
    """
    kinds = [kind for _, kind, _ in _POSTS.values()]
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    for _, kind, rules in _POSTS.values():
        properties = components[kind.__name__].setdefault("properties", {})
        # null says nothing, and is accepted
        properties.update({name: {"type": "null"} for name in rules.harmless if name not in properties})
    error = {"message": {"type": "string"}, "type": {"type": "string"}, "code": {"type": "string"}}
    components["Error"] = _object(error=_object(**error, param={"type": ["string", "null"]}))
    components["OllamaError"] = _object(error={"type": "string"})
    posts = {
        path: {"post": _post(summary, schema, _errors(path))}
        for (path, (summary, _, _)), schema in zip(_POSTS.items(), schemas, strict=True)
    }
    gets = {path: {"get": _get(summary, _errors(path))} for path, summary in _GETS.items()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "TinyLM", "version": version, "description": "OpenAI's and Ollama's API, as far as it goes."},
        "paths": {**posts, **gets},
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def _errors(path: str) -> dict[str, Any]:
    name = "OllamaError" if path.startswith("/api/") else "Error"
    return {status: _answer(text, {"$ref": f"#/components/schemas/{name}"}) for status, text in _ERRORS.items()}


def _post(summary: str, schema: dict[str, Any], errors: dict[str, Any]) -> dict[str, Any]:
    good = _answer("The reply, or with `stream` a stream of it", {"type": "object"})
    good["content"]["text/event-stream"] = {"schema": {"type": "string"}}
    good["content"]["application/x-ndjson"] = {"schema": {"type": "string"}}
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {"200": good, **errors},
    }


def _get(summary: str, errors: dict[str, Any]) -> dict[str, Any]:
    good = _answer("As described", {"type": "object"})
    return {"summary": summary, "responses": {"200": good, **{key: errors[key] for key in ("401", "403", "503")}}}


def _answer(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}
