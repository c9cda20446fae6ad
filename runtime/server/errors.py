"""Error responses, in the form that OpenAI's or Ollama's clients read."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """A request is refused, or failed.

    Args:
        status: HTTP status.
        message: what is wrong and what to do, in one line.
        code: identifies the kind of error to programs.
        param: the parameter in question, if any.
        retry_after: seconds after which to try again, where that can help.
    """

    def __init__(
        self, status: int, message: str, code: str, param: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.retry_after = retry_after

    @property
    def body(self) -> dict[str, Any]:
        """OpenAI's error object."""
        return {"error": {"message": self.message, "type": self._type, "param": self.param, "code": self.code}}

    def body_for(self, path: str) -> dict[str, Any]:
        """The response body for a request to a path: Ollama's error object below /api/, else OpenAI's."""
        return {"error": self.message} if path.startswith("/api/") else self.body

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the response."""
        headers = {} if self.retry_after is None else {"retry-after": str(self.retry_after)}
        return {**headers, "www-authenticate": "Bearer"} if self.status == 401 else headers

    @property
    def _type(self) -> str:
        if self.status == 429:
            return "rate_limit_error"
        if self.status == 401:
            return "authentication_error"
        return "server_error" if self.status >= 500 else "invalid_request_error"


def invalid(message: str, param: str | None = None, code: str = "invalid_value") -> ApiError:
    """A request with a wrong value."""
    return ApiError(400, message, code, param)


def busy(waiting: int, retry_after: int) -> ApiError:
    """The queue is full."""
    return ApiError(
        429, f"the server is busy: {waiting} requests are waiting; try again", "server_busy", retry_after=retry_after
    )


def shutting_down() -> ApiError:
    """The server takes no more requests."""
    return ApiError(503, "the server is shutting down", "shutting_down", retry_after=10)


def no_memory() -> ApiError:
    """There is no memory for the KV cache of a single reply."""
    return ApiError(
        503, "there is not enough memory for a reply; close other programs", "out_of_memory", retry_after=10
    )


def broken() -> ApiError:
    """A thread that generates replies has ended."""
    return ApiError(503, "the server no longer generates replies: restart it", "broken")


def client_left() -> ApiError:
    """Nobody reads the answer."""
    return ApiError(499, "the client has left", "cancelled")


def internal_error() -> ApiError:
    """A bug; the log has the traceback."""
    return ApiError(500, "the reply could not be generated: an error of the server's own", "internal_error")
