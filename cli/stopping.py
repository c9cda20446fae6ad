"""SIGINT and SIGTERM as a wish to stop at the end of a step."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tinylm.cli.console import say

_ECHO_SECONDS = 2.0


class StopRequest:
    """Whether training should stop.

    Attributes:
        training: whether steps are being taken, so that there is something to save; before, a signal is a
            KeyboardInterrupt, as is a second one.
        made: whether a signal came.
    """

    def __init__(self) -> None:
        self.training = self.made = False
        self._made_at = 0.0

    def handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Take a signal."""
        if "TORCHELASTIC_RUN_ID" in os.environ and self.made and time.monotonic() - self._made_at < _ECHO_SECONDS:
            return  # the terminal sends Ctrl-C to all processes, and torchrun sends it to them once more
        if self.made or not self.training:
            raise KeyboardInterrupt
        self.made, self._made_at = True, time.monotonic()
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
