"""The KV caches of many conversations on one model: how many there are, and who goes on with which."""

from __future__ import annotations

from collections.abc import Sequence

from tinylm.runtime.session import PREFILL_CHUNK, Session, TokenSequence


class Cache(TokenSequence):
    """A sequence that other conversations can go on from.

    Attributes:
        prefilled: how many of its first tokens came in whole chunks of a prompt.
        busy: whether a reply is being generated with it.
        last_used: when it was last taken, as a number that grows.
    """

    prefilled = 0
    busy = False
    last_used = 0


class CachePool:
    """As many caches as memory is set aside for; the one that was unused longest goes first.

    A prompt goes on from what it begins with in common with a cached one, in whole chunks of prompts alone. A
    reply's tokens came one by one, which rounds otherwise than a chunk: going on from them, a reply would depend on
    whether they were still there.

    Args:
        session: the loaded model.
        memory: bytes for all caches together; there is one at least.
    """

    def __init__(self, session: Session, memory: int) -> None:
        self._model = session.model
        self.capacity = max(1, memory // self._model.cache_bytes)
        self._caches: list[Cache] = []
        self._time = 0

    @property
    def used_bytes(self) -> int:
        """Bytes of the caches that there are."""
        return len(self._caches) * self._model.cache_bytes

    @property
    def free(self) -> int:
        """How many could be taken now."""
        return self.capacity - sum(cache.busy for cache in self._caches)

    def take(self, prompt: Sequence[int]) -> Cache:
        """A cache for a prompt, with as many of its first tokens as are known; one must be free."""
        self._time += 1
        best, common = None, 0
        for cache in self._caches:
            size = _common_chunks(cache, prompt)
            # Of equal ones, one that can be taken as it is
            if size > common or (size == common > 0 and best is not None and best.busy and not cache.busy):
                best, common = cache, size
        if best is not None and not best.busy and best.prefilled <= common:
            cache = best
        else:
            cache = self._free_one(best)
            if best is not None and cache is not best:
                cache.copy_start(best, common)
        cache.truncate(common)
        cache.prefilled, cache.busy, cache.last_used = common, True, self._time
        return cache

    def give_back(self, cache: Cache, prompt_tokens: int) -> None:
        """A reply is at its end.

        Args:
            cache: that was taken for it.
            prompt_tokens: how long its prompt is.
        """
        reached = min(prompt_tokens, cache.length)
        cache.prefilled = reached - reached % PREFILL_CHUNK
        cache.truncate(cache.prefilled)
        cache.busy = False

    def _free_one(self, spared: Cache | None) -> Cache:
        """A new cache if there is room, or else the free one that was unused longest, if possible not `spared`."""
        if len(self._caches) < self.capacity:
            self._caches.append(Cache(self._model))
            return self._caches[-1]
        free = [cache for cache in self._caches if not cache.busy]
        return min(free, key=lambda cache: (cache is spared, cache.last_used))


def _common_chunks(cache: Cache, prompt: Sequence[int]) -> int:
    """How many tokens a prompt and a cache begin with in common, in whole chunks; the prompt keeps one to itself."""
    most = min(cache.prefilled, len(prompt) - 1) // PREFILL_CHUNK
    for chunk in range(most):
        part = slice(chunk * PREFILL_CHUNK, (chunk + 1) * PREFILL_CHUNK)
        if list(cache.ids[part]) != list(prompt[part]):
            return chunk * PREFILL_CHUNK
    return most * PREFILL_CHUNK
