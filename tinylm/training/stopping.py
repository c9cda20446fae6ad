"""Graceful shutdown on SIGINT, SIGTERM and SIGHUP."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_ECHO_SECONDS = 2.0
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class StopRequest:
    """Whether a signal has asked to stop.

    Args:
        inform: receives a line for the user when the first signal comes.

    Attributes:
        training: whether steps are being taken, so that there is something to save. Before that, a signal raises
            KeyboardInterrupt; so does a second signal.
        made: whether a signal has come.
    """

    def __init__(self, inform: Callable[[str], None] = lambda _: None) -> None:
        self.training = self.made = False
        self._inform = inform
        self._made_at = 0.0

    def handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Handle a signal."""
        if "TORCHELASTIC_RUN_ID" in os.environ and self.made and time.monotonic() - self._made_at < _ECHO_SECONDS:
            return  # the terminal sends Ctrl-C to all processes, and torchrun sends it to them once more
        if self.made or not self.training:
            raise KeyboardInterrupt
        self.made, self._made_at = True, time.monotonic()
        # The signal may have interrupted a write to the same stream, which Python refuses to enter again
        with suppress(RuntimeError, OSError):
            self._inform("Stopping after this step and saving; interrupt again to leave at once.")


@contextmanager
def stop_on_signals(inform: Callable[[str], None] = lambda _: None) -> Iterator[StopRequest]:
    """Turn SIGINT, SIGTERM and SIGHUP into a request to stop.

    Signals that are ignored, as SIGHUP under `nohup`, or that the program handles itself are left as they are. Outside
    the main thread, where Python allows no signal handlers, no signal makes the request.

    Args:
        inform: receives a line for the user when a signal comes.
    """
    request = StopRequest(inform)
    previous = {}
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                previous[number] = signal.signal(number, request.handle)
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
