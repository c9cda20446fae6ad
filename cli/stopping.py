"""SIGINT and SIGTERM as a wish to stop at the end of a step."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tinylm.cli.console import say


class StopRequest:
    """Whether training should stop.

    Attributes:
        training: whether steps are being taken, so that there is something to save; before, a signal is a
            KeyboardInterrupt, as is a second one.
        made: whether a signal came.
    """

    def __init__(self) -> None:
        self.training = self.made = False

    def handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Take a signal."""
        if self.made or not self.training:
            raise KeyboardInterrupt
        self.made = True
        say("\nStopping after this step and saving; once more to leave at once.")


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Take SIGINT and SIGTERM for a wish to stop."""
    request = StopRequest()
    previous = {number: signal.signal(number, request.handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
