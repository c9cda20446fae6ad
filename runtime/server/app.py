"""The ASGI application: all routes, and what surrounds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from tinylm import __version__
from tinylm.runtime.page.assembly import assemble_page
from tinylm.runtime.server.dispatch import Dispatcher, json_response
from tinylm.runtime.server.errors import ApiError, broken, shutting_down
from tinylm.runtime.server.metrics import Metrics
from tinylm.runtime.server.middleware import Frame
from tinylm.runtime.server.ollama_api import OllamaApi
from tinylm.runtime.server.openai_api import OpenAIApi
from tinylm.runtime.server.openai_responses import ResponsesApi
from tinylm.runtime.server.openapi import document
from tinylm.runtime.server.scheduler import Scheduler
from tinylm.runtime.server.security import Access, Guard, page_headers
from tinylm.runtime.server.tokenizer_api import TokenizerApi
from tinylm.runtime.server.tolerance import IGNORED_HEADER


class Site:
    """Handlers of the routes that belong to no API.

    Args:
        scheduler: whose health is shown.
        metrics: shown to Prometheus.
    """

    def __init__(self, scheduler: Scheduler, metrics: Metrics) -> None:
        self._scheduler, self._metrics = scheduler, metrics
        self._page = assemble_page().encode()
        self._page_headers = page_headers(self._page)
        self._document = msgspec.json.encode(document(__version__))

    def routes(self) -> list[Route]:
        """All routes."""
        return [
            Route("/", self.page),
            Route("/favicon.ico", self.no_icon),
            Route("/health", self.health),
            Route("/metrics", self.metrics),
            Route("/openapi.json", self.openapi),
        ]

    async def page(self, _: HttpRequest) -> Response:
        """The chat page."""
        return Response(self._page, media_type="text/html", headers=self._page_headers)

    async def no_icon(self, _: HttpRequest) -> Response:
        """Nothing, for browsers, which ask each site for an icon."""
        return Response(status_code=204)

    async def health(self, _: HttpRequest) -> Response:
        """Whether requests are taken and answered."""
        if self._scheduler.closed:
            raise shutting_down()
        if self._scheduler.broken:
            raise broken()
        return json_response({"status": "ok"})

    async def metrics(self, _: HttpRequest) -> Response:
        """Figures for Prometheus."""
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4")

    async def openapi(self, _: HttpRequest) -> Response:
        """The OpenAPI document."""
        return Response(self._document, media_type="application/json")


def create_app(dispatcher: Dispatcher, scheduler: Scheduler, metrics: Metrics, access: Access) -> ASGIApp:
    """The application.

    Args:
        dispatcher: reads requests and sends replies.
        scheduler: generates them.
        metrics: counts requests.
        access: who may ask.
    """
    apis = (OpenAIApi, ResponsesApi, TokenizerApi, OllamaApi)
    routes = [*Site(scheduler, metrics).routes(), *(route for api in apis for route in api(dispatcher).routes())]
    handlers: Mapping[Any, Any] = {HTTPException: _http_error, ApiError: _api_error}
    inner = Starlette(routes=routes, exception_handlers=handlers)
    # A redirect would lead to whatever name the client gave as its host
    inner.router.redirect_slashes = False
    app: ASGIApp = Frame(Guard(inner, access), metrics, {route.path for route in routes})
    if access.origins:
        # Outermost, so that pages of allowed origins can read error responses, too
        app = CORSMiddleware(
            app,
            allow_origins=list(access.origins),
            allow_methods=["GET", "HEAD", "POST"],
            # Clients in browsers send headers of their own; what may be asked is decided by origin and key
            allow_headers=["*"],
            expose_headers=["retry-after", IGNORED_HEADER],
        )
    return app


async def _api_error(request: HttpRequest, error: ApiError) -> Response:
    return json_response(error.body_for(request.url.path), error.status, error.headers)


async def _http_error(request: HttpRequest, error: HTTPException) -> Response:
    codes = {404: "not_found", 405: "method_not_allowed"}
    messages = {404: "there is nothing at this address", 405: "this address does not take this method"}
    status = error.status_code
    known = ApiError(status, messages.get(status, str(error.detail)), codes.get(status, "invalid_request"))
    headers = {**known.headers, **(error.headers or {})}
    return json_response(known.body_for(request.url.path), status, headers)
