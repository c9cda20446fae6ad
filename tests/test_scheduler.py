"""Turns, queue and caches of the server, in this process."""

import asyncio
import sys
from itertools import groupby

import numpy as np
import pytest
from prompts import prompt_of

from tinylm.runtime import ChatModel, SamplingOptions
from tinylm.runtime.server import caches as caches_module
from tinylm.runtime.server import scheduler as scheduler_module
from tinylm.runtime.server.caches import CachePool
from tinylm.runtime.server.errors import ApiError
from tinylm.runtime.server.models import ServedModel
from tinylm.runtime.server.replies import Job, Replies, ReplyTask
from tinylm.runtime.server.scheduler import TURN_S, Scheduler, retry_after
from tinylm.runtime.session import LoadedModel, TokenSequence

ONE_CACHE, MANY_CACHES = 1, 10**9


@pytest.fixture(scope="module")
def model():
    """The demo model, whose context is long enough for chunks."""
    return ServedModel("demo", None, ChatModel(threads=1))


@pytest.fixture
def start(model):
    """Schedulers that end with the test."""
    started = []

    def make(memory=MANY_CACHES, **options):
        caches = CachePool(memory)
        options = {"workers": 2, "parallel": 16, "queue": 64, **options}
        started.append(Scheduler(caches, **options))
        return started[-1], caches

    yield make
    for scheduler in started:
        scheduler.stop()


def request_of(model, prompt, tokens=8, seconds=60, count=1, **options):
    """A request whose reply does not end by itself, or several of it."""
    endless = {"logit_bias": {model.tokenizer.eos_id: -100}, "max_new_tokens": tokens, "seed": 1, **options}
    return Replies([ReplyTask(model, prompt, SamplingOptions(**endless))] * count, seconds, streamed=True)


async def outcome(replies):
    """The result of the one reply, or the code of its error."""
    try:
        (job,) = await replies.finished()
    except ApiError as error:
        return error.code
    return job.result


def test_a_reply_is_the_same_alone_among_others_and_from_a_cache(model, start):
    prompts = [prompt_of(70 + 13 * number, first=20 + number % 3) for number in range(12)]

    async def replies(scheduler, together):
        jobs = []
        for prompt in prompts:
            jobs.append(request_of(model, prompt, tokens=24, temperature=1.5))
            scheduler.submit(jobs[-1].jobs)
            if not together:
                await jobs[-1].finished()
        return [(await outcome(job)).reply for job in jobs]

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
        jobs = [request_of(model, prompt_of(10, first=20 + number), tokens=40) for number in range(4)]
        for job in jobs:
            scheduler.submit(job.jobs)

        async def follow(job):
            while await job.pieces():
                ended.append(job)

        await asyncio.gather(*map(follow, jobs))
        return [replies.jobs[0] for replies in jobs]

    jobs = asyncio.run(ask())
    starts, ends = max(job.started for job in jobs), min(job.ended for job in jobs)
    assert starts < ends, "all began before the first was at its end"


def test_turns_are_as_long_as_they_compute(model, start, monkeypatch):
    """However long they wait for the processor."""
    turns, step = [], Scheduler._step

    def count(scheduler, turn):
        turns.append(turn.job)
        return step(scheduler, turn)

    monkeypatch.setattr(Scheduler, "_step", count)
    monkeypatch.setattr(scheduler_module.time, "thread_time", lambda: len(turns) / 1000)
    monkeypatch.setattr(scheduler_module.time, "monotonic", lambda: len(turns) * 1000.0)
    scheduler, _ = start(workers=1)

    async def ask():
        jobs = [request_of(model, prompt_of(10, first=20 + number), tokens=40, seconds=10**9) for number in range(4)]
        for job in jobs:
            scheduler.submit(job.jobs)
        return [await outcome(job) for job in jobs]

    assert [result.completion_tokens for result in asyncio.run(ask())] == [40] * 4
    lengths = [len(list(turn)) for _, turn in groupby(turns)]
    assert all(abs(length - 1000 * TURN_S) <= 1 for length in lengths[:-4]), lengths


@pytest.mark.parametrize(("replies", "least", "most"), [(1, 0.9, 1.0), (4, 0.05, 0.3)])
def test_the_text_of_a_turn_is_sent_as_a_whole_while_others_wait(model, start, monkeypatch, replies, least, most):
    steps, announced, step, announce = [], [], Scheduler._step, Job.announce

    def count(scheduler, turn):
        steps.append(turn.job)
        return step(scheduler, turn)

    def note(job):
        announced.append(job)
        announce(job)

    monkeypatch.setattr(Scheduler, "_step", count)
    monkeypatch.setattr(Job, "announce", note)
    monkeypatch.setattr(scheduler_module.time, "thread_time", lambda: len(steps) / 1000)
    scheduler, _ = start(workers=1)

    async def ask():
        jobs = [request_of(model, prompt_of(10, first=20 + number), tokens=40) for number in range(replies)]
        for job in jobs:
            scheduler.submit(job.jobs)
        return [await outcome(job) for job in jobs]

    assert [result.completion_tokens for result in asyncio.run(ask())] == [40] * replies
    assert least <= len(announced) / len(steps) <= most


def test_a_cancelled_request_ends_and_gives_its_cache_back(model, start):
    scheduler, caches = start(ONE_CACHE)
    assert caches.capacity(model.weights) == 1

    async def ask():
        first, second, third = (request_of(model, prompt_of(10), tokens=200) for _ in range(3))
        for job in (first, second, third):
            scheduler.submit(job.jobs)
        await first.begun()
        scheduler.cancel(first.jobs)
        scheduler.cancel(third.jobs)
        return [await outcome(job) for job in (first, second, third)]

    first, second, third = asyncio.run(ask())
    assert first.finish_reason == "cancelled"
    assert first.completion_tokens < 200
    assert second.completion_tokens == 200
    assert third == "cancelled"
    assert scheduler.active == scheduler.waiting == 0
    assert caches.room_for(model.weights) == 1


def test_when_a_refused_client_is_to_come_back():
    assert retry_after(waiting=0, active=0, duration=0.1, pace=0) == 1
    assert retry_after(waiting=64, active=16, duration=2, pace=0) == 5
    # The last replies ended at once, as their clients had left, and the others still go on
    assert retry_after(waiting=64, active=16, duration=0.01, pace=0.25) == 8
    assert retry_after(waiting=64, active=1, duration=60, pace=60) == 60


def test_limits_of_queue_and_time(model, start):
    scheduler, _ = start(ONE_CACHE, workers=1, parallel=1, queue=2)

    async def ask():
        taken, refused = [], []
        for _ in range(8):
            job = request_of(model, prompt_of(10), tokens=200)
            try:
                scheduler.submit(job.jobs)
                taken.append(job)
            except ApiError as error:
                refused.append(error)
        return [await outcome(job) for job in taken], refused

    taken, refused = asyncio.run(ask())
    assert len(taken) in {3, 4}
    assert {(error.status, error.code) for error in refused} == {(429, "server_busy")}
    assert all(1 <= error.retry_after <= 60 for error in refused)

    async def late():
        first = request_of(model, prompt_of(10), tokens=200)
        second = request_of(model, prompt_of(10), seconds=0)
        scheduler.submit(first.jobs)
        await first.begun()
        scheduler.submit(second.jobs)
        hasty = await outcome(second)
        await first.finished()
        cut = request_of(model, prompt_of(10), tokens=10_000, seconds=0.005)
        scheduler.submit(cut.jobs)
        return hasty, await outcome(cut)

    hasty, cut = asyncio.run(late())
    assert hasty == "server_busy"
    assert cut.finish_reason in {"cancelled", "context"}


def test_the_end_tells_those_who_wait_and_those_under_way(model, start):
    scheduler, _ = start(ONE_CACHE, workers=1, parallel=1)

    async def ask():
        first, second = request_of(model, prompt_of(10), tokens=10_000), request_of(model, prompt_of(10))
        scheduler.submit(first.jobs)
        scheduler.submit(second.jobs)
        await first.begun()
        scheduler.close()
        assert await outcome(second) == "shutting_down"
        await asyncio.to_thread(scheduler.stop)
        with pytest.raises(ApiError, match="shutting down"):
            scheduler.submit(request_of(model, prompt_of(10)).jobs)
        return await outcome(first)

    said = asyncio.run(ask())
    assert said == "shutting_down" or said.finish_reason == "context"


def test_weights_that_give_no_numbers_end_one_request_with_an_error(model, start, monkeypatch):
    scheduler, _ = start()
    nonsense = np.full(model.tokenizer.vocab_size, np.nan, np.float32)
    monkeypatch.setattr(TokenSequence, "append", lambda *_: nonsense)

    async def ask():
        job = request_of(model, prompt_of(10))
        scheduler.submit(job.jobs)
        return await outcome(job)

    assert asyncio.run(ask()) == "generation_failed"
    assert scheduler.active == 0


def give_out(monkeypatch, times):
    """Let the memory for caches end after so many."""
    new_cache, left = LoadedModel.new_cache, [times]

    def limited(self):
        if not left[0]:
            raise MemoryError("Unable to allocate 1.50 MiB for an array")
        left[0] -= 1
        return new_cache(self)

    monkeypatch.setattr(LoadedModel, "new_cache", limited)


def test_more_requests_than_memory_for_caches_wait_and_none_hangs(model, start, monkeypatch, caplog):
    give_out(monkeypatch, 10)
    scheduler, caches = start(parallel=24)

    async def ask():
        jobs = [request_of(model, prompt_of(10, first=20 + number % 30), tokens=30) for number in range(24)]
        for job in jobs:
            scheduler.submit(job.jobs)
        return [(await outcome(job)).completion_tokens for job in jobs]

    for _ in range(2):
        assert asyncio.run(asyncio.wait_for(ask(), 120)) == [30] * 24
        assert not scheduler.broken
        assert scheduler.active == scheduler.waiting == 0
    assert caches.capacity(model.weights) == 10
    assert "memory for 10 KV caches only" in caplog.text


def test_no_memory_for_a_single_cache_is_said(model, start, monkeypatch):
    scheduler, _ = start()
    give_out(monkeypatch, 0)

    async def ask():
        job = request_of(model, prompt_of(10))
        scheduler.submit(job.jobs)
        return await asyncio.wait_for(outcome(job), 60)

    assert asyncio.run(ask()) == "out_of_memory"
    monkeypatch.undo()
    assert asyncio.run(ask()).completion_tokens == 8
    assert not scheduler.broken


@pytest.mark.parametrize("place", ["CachePool.take", "TokenSampler.of", "Generation.steps", "Cache.append"])
def test_a_job_that_fails_wherever_it_may_ends_with_an_error_and_the_threads_go_on(place, model, start, monkeypatch):
    scheduler, _ = start(ONE_CACHE, workers=1)
    owner, name = place.split(".")

    def fail(*_, **__):
        raise RuntimeError("broken")

    async def ask():
        job = request_of(model, prompt_of(10))
        scheduler.submit(job.jobs)
        return await asyncio.wait_for(outcome(job), 60)

    with monkeypatch.context() as patch:
        module = caches_module if owner in ("CachePool", "Cache") else scheduler_module
        patch.setattr(getattr(module, owner), name, fail)
        for _ in range(3):
            assert asyncio.run(ask()) == "internal_error"
    assert asyncio.run(ask()).completion_tokens == 8
    assert not scheduler.broken
    assert scheduler.active == 0


def test_a_thread_that_ended_is_known(model, start, monkeypatch):
    scheduler, _ = start(workers=1)
    monkeypatch.setattr("threading.excepthook", lambda _: None)

    monkeypatch.setattr(scheduler, "_refuse_late_ones", sys.exit)

    async def ask():
        job = request_of(model, prompt_of(10), seconds=0.1)
        scheduler.submit(job.jobs)

    assert not scheduler.broken
    asyncio.run(ask())
    scheduler._threads[0].join(30)
    assert scheduler.broken


def test_a_request_for_many_replies_waits_as_one_and_lets_others_in_between(model, start):
    scheduler, _ = start(ONE_CACHE, workers=1, parallel=1, queue=2)

    async def ask():
        many = request_of(model, prompt_of(10), tokens=4, count=40)
        single = request_of(model, prompt_of(12), tokens=4)
        scheduler.submit(many.jobs)
        scheduler.submit(single.jobs)
        (job,) = await single.finished()
        begun = sum(one.started is not None for one in many.jobs)
        ended = [one.result.reply for one in await many.finished()]
        return begun, ended, job

    begun, ended, _ = asyncio.run(ask())
    assert begun < 40
    assert len(set(ended)) == 1


def test_one_of_several_replies_that_fails_fails_the_request(model, start, monkeypatch):
    scheduler, _ = start(workers=1)
    of, calls = scheduler_module.TokenSampler.of, []

    def fail_once(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise RuntimeError("broken")
        return of(*arguments)

    monkeypatch.setattr(scheduler_module.TokenSampler, "of", fail_once)

    async def ask():
        replies = request_of(model, prompt_of(10), count=5)
        scheduler.submit(replies.jobs)
        with pytest.raises(ApiError, match="own"):
            await replies.finished()
        scheduler.cancel(replies.jobs)

    asyncio.run(ask())


def test_a_scored_prompt_is_not_reused_and_a_late_one_is_an_error(model, start):
    scheduler, _ = start(ONE_CACHE, workers=1)
    prompt = prompt_of(130)
    options = SamplingOptions(max_new_tokens=1, seed=1)

    async def ask(seconds, **scored):
        replies = Replies([ReplyTask(model, prompt, options, **scored)], seconds, streamed=False)
        scheduler.submit(replies.jobs)
        return await outcome(replies)

    plain = asyncio.run(ask(60))
    assert asyncio.run(ask(60, alternatives=1, score_prompt=True)).reused_tokens == 0
    # Its tokens were computed one by one: the next prompt starts anew
    again = asyncio.run(ask(60))
    assert (again.reused_tokens, again.ids) == (0, plain.ids)
    assert asyncio.run(ask(0.001, alternatives=1, score_prompt=True)) in ("time_limit", "server_busy")
