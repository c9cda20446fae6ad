"""A bundle as a service: caches, threads, application and server put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tinylm.manifest import MODEL_FILE, read_manifest
from tinylm.processors import usable_threads
from tinylm.runtime.chat_model import DEMO_BUNDLE, ChatModel
from tinylm.runtime.device.machine import read_memory
from tinylm.runtime.server.app import Limits, create_app
from tinylm.runtime.server.caches import CachePool
from tinylm.runtime.server.http_server import make_server, open_socket
from tinylm.runtime.server.metrics import Metrics
from tinylm.runtime.server.scheduler import Scheduler
from tinylm.runtime.server.security import Access
from tinylm.runtime.session import default_threads

_MOST_CACHE_BYTES = 256_000_000


@dataclass(frozen=True)
class Settings:
    """How a bundle is served.

    Attributes:
        access: who may ask.
        limits: of one request.
        name: id of the model.
        port: to bind; 0 takes a free one.
        parallel: replies that take turns, at most.
        queue: requests that wait, at most.
        cache_bytes: for all KV caches; None: see `default_cache_bytes`.
        grace: seconds that open streams have to finish when the server ends.
        log_conversations: whether what is said may be logged.
    """

    access: Access
    limits: Limits
    name: str
    port: int = 8000
    parallel: int = 16
    queue: int = 64
    cache_bytes: int | None = None
    grace: float = 10.0
    log_conversations: bool = False


def load_model(bundle: Path | None, threads: int = 0) -> ChatModel:
    """Load a bundle for many replies at a time.

    Args:
        bundle: the folder; None for the demo model in the box.
        threads: CPU threads of one reply; 0: one where the model is small, as a second would give a single reply little
            and take a core from the others; else as many as are fastest.

    Raises:
        BundleError: the folder is no whole bundle, or onnxruntime refuses it.
    """
    size = read_manifest(bundle or DEMO_BUNDLE).files[MODEL_FILE].size
    return ChatModel(bundle, threads=threads or int(default_threads(size) == 1))


def serve(model: ChatModel, settings: Settings, ready: Callable[[str, int], object]) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        model: the loaded bundle.
        settings: see there.
        ready: called with the address, and the number of caches, once clients can come.

    Raises:
        TinyLMError: the address cannot be bound.
    """
    with open_socket(settings.access.host, settings.port) as listener:
        given = settings.cache_bytes
        caches = CachePool(model.session, default_cache_bytes() if given is None else given)
        workers = max(1, usable_threads() // model.session.threads)
        scheduler = Scheduler(caches, model.tokenizer, workers, settings.parallel, settings.queue)
        try:
            metrics = Metrics(scheduler, caches)
            app = create_app(
                model,
                settings.name,
                scheduler,
                metrics,
                settings.limits,
                settings.access,
                settings.log_conversations,
            )
            host, port = listener.getsockname()[:2]
            address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
            server = make_server(app, scheduler, settings.grace, lambda: ready(address, caches.capacity))
            server.run([listener])
        finally:
            scheduler.stop()


def default_cache_bytes() -> int:
    """A quarter of the memory that is free, at most 256 MB."""
    room = read_memory().room
    return _MOST_CACHE_BYTES if room is None else min(_MOST_CACHE_BYTES, room // 4)
