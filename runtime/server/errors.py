"""Answers to requests that are refused, in the form that OpenAI's clients read."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """A request is refused, or failed.

    Args:
        status: of HTTP.
        message: what is wrong and how to go on, in one line.
        code: for programs.
        param: the parameter that is meant, if one is.
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
        """The answer: OpenAI's error object."""
        return {"error": {"message": self.message, "type": self._type, "param": self.param, "code": self.code}}

    @property
    def headers(self) -> dict[str, str]:
        """Headers beside it."""
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
    """The server is about to leave."""
    return ApiError(503, "the server is shutting down", "shutting_down", retry_after=10)
