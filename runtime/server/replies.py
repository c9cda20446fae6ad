"""A request's generation, seen from the event loop while a worker's thread goes on with it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence

from tinylm.runtime.generation import Result
from tinylm.runtime.sampling import SamplingOptions
from tinylm.runtime.server.errors import ApiError


class Job:
    """A reply to be generated; made and awaited in the event loop, driven by the scheduler's threads.

    Args:
        prompt: ids of the whole prompt.
        options: how the reply is sampled.
        seconds: it may take, waiting included.
        streamed: whether its pieces are wanted as they come.

    Attributes:
        started: when its generation began, as `time.monotonic` counts; None while it waits.
        ended: when it ended.
        result: what came of it.
        error: why nothing did, or no more.
        out_of_time: whether it was cut short by its time limit.
    """

    def __init__(self, prompt: Sequence[int], options: SamplingOptions, seconds: float, streamed: bool) -> None:
        self.prompt, self.options, self.streamed = prompt, options, streamed
        self.created = time.monotonic()
        self.deadline = self.created + seconds
        self.started: float | None = None
        self.first_piece: float | None = None
        self.ended: float | None = None
        self.result: Result | None = None
        self.error: ApiError | None = None
        self.out_of_time = False
        self.cancelled = False
        self._pieces: deque[str] = deque()
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._over = asyncio.Event()
        self._awaited = False

    # From the scheduler's threads

    def start(self) -> None:
        """It has a turn from now on."""
        self.started = time.monotonic()

    def put(self, piece: str) -> None:
        """More of its text."""
        self._pieces.append(piece)
        if self.first_piece is None:
            self.first_piece = time.monotonic()
        if self.streamed:
            self._tell()

    def end(self, result: Result | None, error: ApiError | None = None) -> None:
        """It is over."""
        self.result, self.error, self.ended = result, error, time.monotonic()
        self._loop.call_soon_threadsafe(self._wake_all)

    def _tell(self) -> None:
        # Waking the loop costs as much as part of a token: only when it waits
        if self._awaited:
            self._awaited = False
            self._loop.call_soon_threadsafe(self._changed.set)

    # From the event loop

    def _wake_all(self) -> None:
        self._over.set()
        self._changed.set()

    async def begun(self) -> None:
        """Wait for its first piece, or for its end.

        Raises:
            ApiError: it ended without any.
        """
        await self._until(lambda: bool(self._pieces) or self.ended is not None)
        if not self._pieces and self.error is not None:
            raise self.error

    async def text(self) -> str:
        """What came since the last call; waits for some, and is empty at the end.

        Raises:
            ApiError: nothing more comes.
        """
        await self._until(lambda: bool(self._pieces) or self.ended is not None)
        if not self._pieces and self.error is not None:
            raise self.error
        taken = [self._pieces.popleft() for _ in range(len(self._pieces))]
        return "".join(taken)

    async def pause(self, seconds: float) -> None:
        """Wait so long, or until it is over."""
        try:
            async with asyncio.timeout(seconds):
                await self._over.wait()
        except TimeoutError:
            pass

    async def finished(self) -> Result:
        """Wait for the whole reply.

        Raises:
            ApiError: there is none.
        """
        await self._over.wait()
        if self.error is not None:
            raise self.error
        assert self.result is not None
        return self.result

    async def _until(self, reached: Callable[[], bool]) -> None:
        while not reached():
            self._changed.clear()
            self._awaited = True
            if reached():  # meanwhile, untold
                return
            await self._changed.wait()
