"""The OpenAPI document, made of the very types that requests are read with."""

from __future__ import annotations

from typing import Any

import msgspec

from tinylm.runtime.server.protocol import HARMLESS, ChatRequest, CompletionRequest

_ERRORS = {
    "400": "a parameter is wrong or not supported, or the prompt too long",
    "401": "the API key is missing or wrong",
    "403": "the host name or the origin is not allowed",
    "404": "there is no such model",
    "408": "the body did not come in time",
    "413": "the body is too long",
    "415": "the body is not sent as JSON",
    "429": "the queue is full: try again after Retry-After",
    "503": "the server is shutting down",
}


def document(version: str) -> dict[str, Any]:
    """OpenAPI 3.1 of all that takes a body or answers in JSON.

    Args:
        version: of TinyLM.
    """
    kinds = (ChatRequest, CompletionRequest)
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    for kind in kinds:
        # What says nothing may be said
        components[kind.__name__]["properties"].update({name: {"type": "null"} for name in HARMLESS})
    components["Error"] = _object(
        error=_object(
            message={"type": "string"},
            type={"type": "string"},
            param={"type": ["string", "null"]},
            code={"type": "string"},
        )
    )
    errors = {status: _answer(text, {"$ref": "#/components/schemas/Error"}) for status, text in _ERRORS.items()}
    chat, completion = schemas
    return {
        "openapi": "3.1.0",
        "info": {"title": "TinyLM", "version": version, "description": "OpenAI's API, as far as TinyLM has it."},
        "paths": {
            "/v1/chat/completions": {"post": _post("Reply to a conversation", chat, errors)},
            "/v1/completions": {"post": _post("Go on with a text", completion, errors)},
            "/v1/models": {"get": _get("The model", errors, "401", "403")},
            "/health": {"get": _get("Whether requests are taken", errors, "403", "503")},
        },
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def _post(summary: str, schema: dict[str, Any], errors: dict[str, Any]) -> dict[str, Any]:
    good = _answer("The reply, or with `stream` its events", {"type": "object"})
    good["content"]["text/event-stream"] = {"schema": {"type": "string"}}
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {"200": good, **errors},
    }


def _get(summary: str, errors: dict[str, Any], *statuses: str) -> dict[str, Any]:
    good = _answer("As it is", {"type": "object"})
    return {"summary": summary, "responses": {"200": good, **{status: errors[status] for status in statuses}}}


def _answer(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}
