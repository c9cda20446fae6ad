"""Turns, queue and caches of the server, in this process."""

import asyncio

import numpy as np
import pytest

from tinylm.runtime import ChatModel, SamplingOptions
from tinylm.runtime.server.caches import CachePool
from tinylm.runtime.server.errors import ApiError
from tinylm.runtime.server.replies import Job
from tinylm.runtime.server.scheduler import Scheduler
from tinylm.runtime.session import PREFILL_CHUNK, TokenSequence

ONE_CACHE, MANY_CACHES = 1, 10**9


@pytest.fixture(scope="module")
def model():
    """The demo model, whose context is long enough for chunks."""
    return ChatModel(threads=1)


@pytest.fixture
def start(model):
    """Schedulers that end with the test."""
    started = []

    def make(memory=MANY_CACHES, **options):
        caches = CachePool(model.session, memory)
        options = {"workers": 2, "parallel": 16, "queue": 64, **options}
        started.append(Scheduler(caches, model.tokenizer, **options))
        return started[-1], caches

    yield make
    for scheduler in started:
        scheduler.stop()


def prompt_of(length, first=20):
    return [1, *(first + number % 50 for number in range(length - 1))]


def job_of(model, prompt, tokens=8, seconds=60, **options):
    """A request whose reply does not end by itself."""
    endless = {"logit_bias": {model.tokenizer.eos_id: -100}, "max_new_tokens": tokens, "seed": 1, **options}
    return Job(prompt, SamplingOptions(**endless), seconds, streamed=True)


async def outcome(job):
    try:
        return await job.finished()
    except ApiError as error:
        return error.code


def test_a_reply_is_the_same_alone_among_others_and_from_a_cache(model, start):
    prompts = [prompt_of(70 + 13 * number, first=20 + number % 3) for number in range(12)]

    async def replies(scheduler, together):
        jobs = []
        for prompt in prompts:
            jobs.append(job_of(model, prompt, tokens=24, temperature=1.5))
            scheduler.submit(jobs[-1])
            if not together:
                await jobs[-1].finished()
        return [(await job.finished()).reply for job in jobs]

    alone, _ = start(ONE_CACHE, workers=1, parallel=1)
    expected = asyncio.run(replies(alone, together=False))
    assert len(set(expected)) > 6
    crowd, _ = start()
    for _ in range(3):
        assert asyncio.run(replies(crowd, together=True)) == expected
        assert asyncio.run(replies(crowd, together=False)) == expected


def test_turns_are_fair(model, start):
    """Equal requests that come together end together."""
    scheduler, _ = start(workers=1)
    ended = []

    async def ask():
        jobs = [job_of(model, prompt_of(10, first=20 + number), tokens=40) for number in range(4)]
        for job in jobs:
            scheduler.submit(job)

        async def follow(job):
            while await job.text():
                ended.append(job)

        await asyncio.gather(*map(follow, jobs))
        return jobs

    jobs = asyncio.run(ask())
    starts, ends = max(job.started for job in jobs), min(job.ended for job in jobs)
    assert starts < ends, "all began before the first was at its end"


def test_a_cancelled_request_ends_and_gives_its_cache_back(model, start):
    scheduler, caches = start(ONE_CACHE)
    assert caches.capacity == 1

    async def ask():
        first, second, third = (job_of(model, prompt_of(10), tokens=200) for _ in range(3))
        for job in (first, second, third):
            scheduler.submit(job)
        await first.begun()
        scheduler.cancel(first)
        scheduler.cancel(third)
        return [await outcome(job) for job in (first, second, third)]

    first, second, third = asyncio.run(ask())
    assert first.finish_reason == "cancelled"
    assert first.completion_tokens < 200
    assert second.completion_tokens == 200
    assert third == "cancelled"
    assert scheduler.active == scheduler.waiting == 0
    assert caches.free == 1


def test_limits_of_queue_and_time(model, start):
    scheduler, _ = start(ONE_CACHE, workers=1, parallel=1, queue=2)

    async def ask():
        taken, refused = [], []
        for _ in range(8):
            job = job_of(model, prompt_of(10), tokens=200)
            try:
                scheduler.submit(job)
                taken.append(job)
            except ApiError as error:
                refused.append(error)
        return [await job.finished() for job in taken], refused

    taken, refused = asyncio.run(ask())
    assert len(taken) in {3, 4}
    assert {(error.status, error.code) for error in refused} == {(429, "server_busy")}
    assert all(1 <= error.retry_after <= 60 for error in refused)

    async def late():
        first = job_of(model, prompt_of(10), tokens=200)
        second = job_of(model, prompt_of(10), seconds=0)
        scheduler.submit(first)
        await first.begun()
        scheduler.submit(second)
        hasty = await outcome(second)
        await first.finished()
        cut = job_of(model, prompt_of(10), tokens=10_000, seconds=0.005)
        scheduler.submit(cut)
        return hasty, await cut.finished()

    hasty, cut = asyncio.run(late())
    assert hasty == "server_busy"
    assert cut.finish_reason in {"cancelled", "context"}


def test_the_end_tells_those_who_wait_and_those_under_way(model, start):
    scheduler, _ = start(ONE_CACHE, workers=1, parallel=1)

    async def ask():
        first, second = job_of(model, prompt_of(10), tokens=10_000), job_of(model, prompt_of(10))
        scheduler.submit(first)
        scheduler.submit(second)
        await first.begun()
        scheduler.close()
        assert await outcome(second) == "shutting_down"
        await asyncio.to_thread(scheduler.stop)
        with pytest.raises(ApiError, match="shutting down"):
            scheduler.submit(job_of(model, prompt_of(10)))
        return await outcome(first)

    said = asyncio.run(ask())
    assert said == "shutting_down" or said.finish_reason == "context"


def test_weights_that_give_no_numbers_end_one_request_with_an_error(model, start, monkeypatch):
    scheduler, _ = start()
    nonsense = np.full(model.tokenizer.vocab_size, np.nan, np.float32)
    monkeypatch.setattr(TokenSequence, "append", lambda *_: nonsense)

    async def ask():
        job = job_of(model, prompt_of(10))
        scheduler.submit(job)
        return await outcome(job)

    assert asyncio.run(ask()) == "generation_failed"
    assert scheduler.active == 0


def used(caches, prompt):
    """Take a cache for a prompt, prefill it, and give it back: how much was there already."""
    cache = caches.take(prompt)
    reused = cache.length
    cache.append(prompt[reused:])
    caches.give_back(cache, len(prompt))
    return reused


def test_whole_chunks_of_prompts_are_reused(model):
    caches = CachePool(model.session, MANY_CACHES)
    prompt = prompt_of(3 * PREFILL_CHUNK)
    assert used(caches, prompt[:100]) == 0
    assert used(caches, prompt[:100]) == PREFILL_CHUNK
    assert used(caches, prompt) == PREFILL_CHUNK
    # One token at least is left to compute
    assert used(caches, prompt) == 2 * PREFILL_CHUNK
    assert used(caches, [9, *prompt[1:]]) == 0
    assert used(caches, prompt[:70] + [9] * 60) == PREFILL_CHUNK
    assert used(caches, prompt) == 2 * PREFILL_CHUNK, "another's beginning was copied, not taken"


def test_the_cache_unused_longest_goes_first(model):
    caches = CachePool(model.session, 2 * model.session.model.cache_bytes)
    prompts = [prompt_of(100, first=20 + number) for number in range(3)]
    assert [used(caches, prompt) for prompt in (prompts[0], prompts[1], prompts[0], prompts[2])] == [0, 0, 64, 0]
    assert used(caches, prompts[0]) == 64
    assert used(caches, prompts[1]) == 0
    assert caches.used_bytes == 2 * model.session.model.cache_bytes
