"""Bundles as a service: models, caches, threads, application and HTTP server put together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tinylm.errors import TinyLMError
from tinylm.manifest import read_manifest
from tinylm.processors import usable_threads
from tinylm.runtime.chat_model import DEMO_BUNDLE, ChatModel
from tinylm.runtime.device.machine import read_memory
from tinylm.runtime.server.app import create_app
from tinylm.runtime.server.caches import CachePool
from tinylm.runtime.server.dispatch import Dispatcher, Limits
from tinylm.runtime.server.http_server import make_server, open_socket
from tinylm.runtime.server.metrics import Metrics
from tinylm.runtime.server.models import Models, ServedModel
from tinylm.runtime.server.scheduler import Scheduler
from tinylm.runtime.server.security import Access
from tinylm.runtime.session import default_threads

log = logging.getLogger("tinylm.serve")

OLLAMA_PORT = 11434
"""Where Ollama's clients look for it."""

_MOST_CACHE_BYTES = 256_000_000


@dataclass(frozen=True)
class Settings:
    """How bundles are served.

    Attributes:
        access: who may ask.
        limits: of one request.
        port: to bind; 0 takes a free one.
        ollama: whether to listen at Ollama's port, too.
        parallel: replies that take turns, at most.
        queue: requests that wait, at most.
        cache_bytes: for all KV caches; None: see `default_cache_bytes`.
        grace: seconds that open streams have to finish when the server ends.
        log_conversations: whether what is said may be logged.
        threads: CPU threads of one reply; see `load_model`.
    """

    access: Access
    limits: Limits
    port: int = 8000
    ollama: bool = False
    parallel: int = 16
    queue: int = 64
    cache_bytes: int | None = None
    grace: float = 10.0
    log_conversations: bool = False
    threads: int = 0


def load_model(name: str, bundle: Path | None, threads: int = 0) -> ServedModel:
    """Load a bundle for many replies at a time. Later changes of its files change nothing until it is loaded again.

    Args:
        name: its id for clients.
        bundle: the folder; None for the demo model in the box.
        threads: CPU threads of one reply; 0: one where the model is small, as a second would give a single reply little
            and take a core from the others; else as many as are fastest.

    Raises:
        BundleError: the folder is no whole bundle, or onnxruntime refuses it.
    """
    size = read_manifest(bundle or DEMO_BUNDLE).model_bytes
    model = ChatModel(bundle, threads=threads or int(default_threads(size) == 1), private=True)
    return ServedModel(name, bundle, model)


def serve(loaded: Sequence[ServedModel], settings: Settings, ready: Callable[[int, int], object]) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        loaded: the models; the first one answers requests that name none.
        settings: see there.
        ready: called with the port and the number of KV caches, once clients can connect.

    Raises:
        TinyLMError: the address cannot be bound.
    """
    host = settings.access.host
    with ExitStack() as stack:
        listeners = [stack.enter_context(open_socket(host, settings.port))]
        if settings.ollama and settings.port != OLLAMA_PORT:
            listeners.append(stack.enter_context(open_socket(host, OLLAMA_PORT)))
        models = Models(loaded)
        given = settings.cache_bytes
        caches = CachePool(default_cache_bytes() if given is None else given)
        workers = max(1, usable_threads() // max(model.weights.threads for model in loaded))
        scheduler = Scheduler(caches, workers, settings.parallel, settings.queue)
        stack.callback(scheduler.stop)
        metrics = Metrics(scheduler, caches)
        dispatcher = Dispatcher(models, scheduler, metrics, settings.limits, settings.log_conversations)
        app = create_app(dispatcher, scheduler, metrics, settings.access)
        port = listeners[0].getsockname()[1]
        capacity = min(caches.capacity(model.weights) for model in loaded)
        reloader = Reloader(models, scheduler, settings.threads)
        server = make_server(app, scheduler, settings.grace, lambda: ready(port, capacity), reloader.reload)
        server.run(listeners)


class Reloader:
    """Loads the bundles again while replies go on; those under way end on the model that they began with.

    Args:
        models: that are served.
        scheduler: that generates with them.
        threads: see `load_model`.
    """

    def __init__(self, models: Models, scheduler: Scheduler, threads: int) -> None:
        self._models, self._scheduler, self._threads = models, scheduler, threads
        self._lock = asyncio.Lock()

    async def reload(self) -> None:
        """Load each bundle anew; one that cannot be loaded is served on as it was."""
        async with self._lock:
            for old in self._models:
                try:
                    new = await asyncio.to_thread(load_model, old.name, old.bundle, self._threads)
                except TinyLMError as error:
                    log.error("%s: not loaded again, and served as it was: %s", old.name, error)
                except Exception:
                    log.exception("%s: not loaded again, and served as it was", old.name)
                else:
                    self._models.replace(new)
                    self._scheduler.drop_model(old.weights)
                    log.warning("%s: loaded again", old.name)


def default_cache_bytes() -> int:
    """A quarter of the memory that is free, at most 256 MB."""
    room = read_memory().room
    return _MOST_CACHE_BYTES if room is None else min(_MOST_CACHE_BYTES, room // 4)
