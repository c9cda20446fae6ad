"""The server's pool of KV caches."""

import pytest
from prompts import prompt_of

from tinylm.runtime import ChatModel
from tinylm.runtime.server.caches import CachePool
from tinylm.runtime.server.models import ServedModel
from tinylm.runtime.session import PREFILL_CHUNK

ONE_CACHE, MANY_CACHES = 1, 10**9


@pytest.fixture(scope="module")
def model():
    """The demo model, whose context is long enough for chunks."""
    return ServedModel("demo", None, ChatModel(threads=1))


def used(caches, model, prompt):
    """Take a cache for a prompt, prefill it, and give it back: how much was there already."""
    cache = caches.take(model.weights, prompt)
    reused = cache.length
    cache.append(prompt[reused:])
    caches.give_back(cache, len(prompt))
    return reused


def test_whole_chunks_of_prompts_are_reused(model):
    caches = CachePool(MANY_CACHES)
    prompt = prompt_of(3 * PREFILL_CHUNK)
    assert used(caches, model, prompt[:100]) == 0
    assert used(caches, model, prompt[:100]) == PREFILL_CHUNK
    assert used(caches, model, prompt) == PREFILL_CHUNK
    # One token at least is left to compute
    assert used(caches, model, prompt) == 2 * PREFILL_CHUNK
    assert used(caches, model, [9, *prompt[1:]]) == 0
    assert used(caches, model, prompt[:70] + [9] * 60) == PREFILL_CHUNK
    assert used(caches, model, prompt) == 2 * PREFILL_CHUNK, "another's beginning was copied, not taken"


def test_the_cache_unused_longest_goes_first(model):
    caches = CachePool(2 * model.weights.cache_bytes)
    prompts = [prompt_of(100, first=20 + number) for number in range(3)]
    assert [used(caches, model, prompt) for prompt in (prompts[0], prompts[1], prompts[0], prompts[2])] == [0, 0, 64, 0]
    assert used(caches, model, prompts[0]) == 64
    assert used(caches, model, prompts[1]) == 0
    assert caches.used_bytes == 2 * model.weights.cache_bytes


def test_models_share_the_memory_for_caches(model, bundle):
    other = ServedModel("other", bundle, ChatModel(bundle, threads=1))
    small, large = sorted((model.weights, other.weights), key=lambda weights: weights.cache_bytes)
    assert small.cache_bytes < large.cache_bytes
    caches = CachePool(large.cache_bytes + 2 * small.cache_bytes)
    first, second = caches.take(small, prompt_of(10)), caches.take(large, prompt_of(10))
    assert caches.room_for(small) == 1
    assert caches.room_for(large) == 0
    caches.give_back(first, 10)
    assert caches.room_for(large) == 0
    caches.give_back(second, 10)
    third = caches.take(large, prompt_of(10))
    assert third is second
    taken = [caches.take(small, prompt_of(10)) for _ in range(2)]
    assert first in taken
    assert caches.used_bytes == large.cache_bytes + 2 * small.cache_bytes
    for cache in (third, *taken):
        caches.give_back(cache, 10)
    caches.drop_model(small)
    assert caches.used_bytes == large.cache_bytes


def test_a_model_that_is_served_no_more_leaves_with_its_last_reply(model):
    caches = CachePool(MANY_CACHES)
    cache, idle = caches.take(model.weights, prompt_of(10)), caches.take(model.weights, prompt_of(10))
    caches.give_back(idle, 0)
    caches.drop_model(model.weights)
    assert caches.used_bytes == model.weights.cache_bytes
    caches.give_back(cache, 0)
    assert caches.used_bytes == 0
