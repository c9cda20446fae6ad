"""The pool of KV caches: prefix reuse, least recently used first to go, one budget of memory for all models."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from weakref import WeakSet

from tinylm.errors import TinyLMError
from tinylm.runtime.session import PREFILL_CHUNK, LoadedModel, TokenSequence

log = logging.getLogger("tinylm.serve")


class OutOfMemoryError(Exception):
    """No memory for one more cache."""


class Cache(TokenSequence):
    """A sequence whose beginning other conversations can reuse.

    Attributes:
        prefilled: how many of its first tokens were computed in whole chunks of a prompt.
        busy: whether a reply is being generated with it.
        last_used: when it was last taken, as a counter of the pool.
    """

    prefilled = 0
    busy = False
    last_used = 0


class CachePool:
    """As many caches as the budget holds, and always room for one.

    A prompt reuses what it begins with in common with a cached one, in whole chunks of prompts only. A reply's tokens
    are computed one by one, which rounds differently from a chunk: if they were reused, a reply would depend on whether
    they were still cached.

    The pool is not thread-safe: the scheduler's lock protects it.

    Args:
        memory: bytes for the caches of all models together.
    """

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._caches: list[Cache] = []
        self._dropped: WeakSet[LoadedModel] = WeakSet()
        self._time = 0

    @property
    def used_bytes(self) -> int:
        """Bytes of all caches."""
        return sum(cache.model.cache_bytes for cache in self._caches)

    def capacity(self, model: LoadedModel) -> int:
        """How many caches of this model the budget holds: at least one."""
        return max(1, self._memory // model.cache_bytes)

    def room_for(self, model: LoadedModel) -> int:
        """How many caches of this model could be taken now."""
        busy = sum(cache.model.cache_bytes for cache in self._caches if cache.busy)
        return max(int(busy == 0), (self._memory - busy) // model.cache_bytes)

    def take(self, model: LoadedModel, prompt: Sequence[int]) -> Cache:
        """A cache for a prompt, which holds as many of its first tokens as were cached; see `room_for`.

        Raises:
            OutOfMemoryError: the machine has no memory for it. The budget is then what the other caches take.
        """
        self._time += 1
        best, common = self._longest_match(model, prompt)
        if best is not None and not best.busy and best.prefilled <= common:
            cache = best
        else:
            cache = self._free_cache(model, spared=best)
            if best is not None and cache is not best:
                cache.copy_start(best, common)
        cache.truncate(common)
        cache.prefilled, cache.busy, cache.last_used = common, True, self._time
        return cache

    def give_back(self, cache: Cache, prompt_tokens: int) -> None:
        """End the use of a cache.

        Args:
            cache: one that `take` gave.
            prompt_tokens: how many of its first tokens are a prompt's, computed in chunks.
        """
        reached = min(prompt_tokens, cache.length)
        cache.prefilled = reached - reached % PREFILL_CHUNK
        cache.truncate(cache.prefilled)
        cache.busy = False
        if cache.model in self._dropped:
            self.drop(cache)

    def drop(self, cache: Cache) -> None:
        """Free a cache that must not be used again."""
        self._caches = [other for other in self._caches if other is not cache]

    def drop_model(self, model: LoadedModel) -> None:
        """Free the caches of a model that is served no more; those in use go when their replies have ended."""
        self._dropped.add(model)
        self._caches = [cache for cache in self._caches if cache.model is not model or cache.busy]

    def _longest_match(self, model: LoadedModel, prompt: Sequence[int]) -> tuple[Cache | None, int]:
        best, common = None, 0
        for cache in self._caches:
            size = _common_chunks(cache, prompt) if cache.model is model else 0
            # Of equally long ones, one that can be taken as it is
            if size > common or (size == common > 0 and best is not None and best.busy and not cache.busy):
                best, common = cache, size
        return best, common

    def _free_cache(self, model: LoadedModel, spared: Cache | None) -> Cache:
        """An unused cache, new if the budget allows; else the one unused longest, `spared` only if it is the last."""
        if self.used_bytes + model.cache_bytes > self._memory:
            own = [cache for cache in self._unused() if cache.model is model]
            if own:
                return min(own, key=lambda cache: (cache is spared, cache.last_used))
        # Other models' caches make room
        while self._unused() and self.used_bytes + model.cache_bytes > self._memory:
            self.drop(min(self._unused(), key=lambda cache: cache.last_used))
        try:
            cache = Cache(model)
        except (MemoryError, TinyLMError, RuntimeError) as error:
            return self._instead_of_new(model, spared, error)
        self._caches.append(cache)
        return cache

    def _instead_of_new(self, model: LoadedModel, spared: Cache | None, error: Exception) -> Cache:
        """What to do where no cache can be allocated: reuse an unused one, and allocate no more from now on."""
        self._memory = self.used_bytes
        log.warning("There is memory for %d KV caches only: %s", len(self._caches), error or "none is left")
        own = [cache for cache in self._unused() if cache.model is model]
        if not own:
            raise OutOfMemoryError(str(error))
        return min(own, key=lambda cache: (cache is spared, cache.last_used))

    def _unused(self) -> list[Cache]:
        return [cache for cache in self._caches if not cache.busy]


def _common_chunks(cache: Cache, prompt: Sequence[int]) -> int:
    """How many tokens the two begin with in common, in whole chunks; one of the prompt at least is left to compute."""
    ids = cache.ids
    longest = min(cache.prefilled, len(prompt) - 1)
    whole = longest - longest % PREFILL_CHUNK
    for start in range(0, whole, PREFILL_CHUNK):
        end = start + PREFILL_CHUNK
        if list(ids[start:end]) != list(prompt[start:end]):
            return start
    return whole
