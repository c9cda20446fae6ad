"""SIGINT and SIGTERM as a wish to stop at the end of a step."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tinylm.cli.console import say


@contextmanager
def stop_request() -> Iterator[list[int]]:
    """A list that SIGINT or SIGTERM puts something into; a second signal ends the process at once."""
    requests: list[int] = []

    def request(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if requests:
            raise KeyboardInterrupt
        requests.append(number)
        say("\nStopping after this step and saving; once more to leave at once.")

    previous = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield requests
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
