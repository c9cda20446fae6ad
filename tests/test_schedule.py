"""Schedules: the course of the learning rate, and plans that are made anew while time goes on."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinylm.config import TrainConfig
from tinylm.run_folder import Schedule
from tinylm.training import schedule as schedule_module
from tinylm.training.schedule import (
    TimePlanner,
    decaying_now,
    first_schedule,
    has_later,
    rate_factor,
    schedule_at,
    with_steps,
)


def train_config(**values) -> TrainConfig:
    return msgspec.convert({"steps": 1, **values}, TrainConfig)


def factors(schedules, steps):
    return [rate_factor(schedule_at(schedules, step), step) for step in range(steps)]


@pytest.mark.parametrize(
    ("steps", "warmup", "decay"),
    [(100, 0.05, 0.5), (1, 0.05, 0.5), (7, 0, 0), (10, 1, 0), (10, 0, 1), (1000, 0.5, 0.5)],
)
def test_the_learning_rate_rises_stays_and_falls(steps, warmup, decay):
    schedule = first_schedule(steps, train_config(warmup=warmup, decay=decay))
    for step, factor in enumerate(factors([schedule], steps)):
        done = (step + 0.5) / steps
        expected = done / warmup if done < warmup else (1 - done) / decay if done > 1 - decay else 1.0
        assert factor == pytest.approx(expected)
        assert 0 < factor <= 1


@settings(deadline=None)
@given(
    steps=st.integers(1, 500),
    decay=st.sampled_from([0.1, 0.5, 1.0]),
    changes=st.lists(st.tuples(st.floats(0, 1), st.floats(0.05, 3.0)), max_size=5),
)
def test_however_often_steps_change_the_rate_ends_at_zero_without_a_jump_upwards(steps, decay, changes):
    schedules = [first_schedule(steps, train_config(decay=decay, warmup=0.0))]
    taken = 0
    for where, factor in changes:
        now = schedules[-1]
        taken += int(where * (now.steps - taken))
        if taken >= now.steps:
            break
        schedules.append(with_steps(now, taken, taken + round(factor * (now.steps - taken)), decay, "time"))
        assert schedules[-1].steps > taken
    end = schedules[-1].steps
    course = factors(schedules, end)
    decaying = schedules[-1].steps - schedules[-1].decay_start
    assert all(0 < factor <= 1 for factor in course)
    assert course[-1] <= 0.5 / decaying + 1e-9
    if decay < 1:
        # Once it falls it never rises
        first = next((step for step, factor in enumerate(course) if factor < 1), end)
        assert all(later <= earlier + 1e-9 for earlier, later in pairwise(course[first:])), (schedules, course)


def test_more_steps_on_the_plateau_change_nothing_that_was_taken():
    first = first_schedule(100, train_config())
    longer = with_steps(first, 40, 200, 0.5, "time")
    assert longer.decay_start == 100
    assert longer.steps == 200
    assert longer.reason == "time"
    assert factors([first, longer], 40) == factors([first], 40)
    assert rate_factor(longer, 99) == 1.0
    assert with_steps(first, 40, 60, 0.5, "time").decay_start == 40


def test_fewer_steps_in_the_decay_go_on_from_the_rate_that_was_reached():
    first = first_schedule(100, train_config())
    shorter = with_steps(first, 75, 80, 0.5, "time")
    assert shorter.decay_from == pytest.approx(0.5)
    assert rate_factor(shorter, 75) == pytest.approx(0.5 * 4.5 / 5)
    assert rate_factor(shorter, 79) == pytest.approx(0.5 * 0.5 / 5)


def test_a_decay_that_begins_at_once_takes_as_long_as_the_plateau():
    first = first_schedule(1000, train_config())
    falling = decaying_now(first, 120, 0.5)
    assert (falling.steps, falling.decay_start, falling.may_grow) == (240, 120, False)
    assert rate_factor(falling, 120) == pytest.approx(119.5 / 120)
    assert decaying_now(first, 490, 0.5).steps == 980
    assert decaying_now(first, 700, 0.5).steps == 1000


def test_the_schedule_in_force_is_the_last_one_that_has_begun():
    schedules = [Schedule(step=step, steps=100, warmup=0, decay_start=50) for step in (0, 0, 10, 30)]
    assert schedule_at(schedules, 0) is schedules[1]
    assert schedule_at(schedules, 29) is schedules[2]
    assert schedule_at(schedules, 30) is schedules[3]
    assert has_later(schedules, 29)
    assert not has_later(schedules, 30)


class Clock:
    """Time that passes only when it is told to."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(schedule_module.time, "monotonic", lambda: self.now)


def simulate(clock, seconds, speed, *, planned=None, stages=("pretrain",), validation=0.0, stop=None):
    """Train in simulated time.

    Args:
        clock: of the simulation.
        seconds: budget of each stage.
        speed: seconds of a step, by the seconds that have passed.
        planned: steps at first; by default for the speed at the beginning.
        stages: that are trained.
        validation: seconds.
        stop: when the process is suspended, and for how long.
    """
    config = train_config(validations=8)
    began = clock.now
    planner = TimePlanner(dict.fromkeys(stages, seconds), config)
    results = {}
    for stage in stages:
        schedules = [first_schedule(planned or max(1, int(seconds / speed(0.0))), config)]
        planner.start(stage)
        taken = 0
        while taken < schedules[-1].steps:
            taken += 1
            took = speed(clock.now - began)
            if stop and clock.now - began > stop[0]:
                took, stop = took + stop[1], None
            clock.now += took
            planner.add_step(took)
            steps = schedules[-1].steps
            if taken * 8 // steps != (taken - 1) * 8 // steps:
                clock.now += validation
                planner.add_validation(validation)
            if change := planner.change(schedules[-1], taken):
                schedules.append(change)
        results[stage] = schedules, taken, clock.now - began
    return results


def decay_is_complete(schedules, taken):
    last = schedules[-1]
    return last.steps == taken and rate_factor(last, taken - 1) < 0.1


@pytest.mark.parametrize(
    "speed",
    [
        lambda _: 0.1,
        lambda at: 0.3 if at < 120 else 0.1,
        lambda at: 0.1 if at < 120 else 0.3,
        lambda at: 0.25 if 60 < at < 100 else 0.1,
        lambda at: 0.1 + 0.001 * at,
        lambda at: 2.0 if at < 20 else 0.05,
    ],
    ids=["quiet", "busy first half", "busy second half", "busy for a while", "slower and slower", "very busy at first"],
)
@pytest.mark.parametrize("validation", [0.0, 1.0])
def test_a_stage_ends_in_its_time_whatever_the_speed(monkeypatch, speed, validation):
    results = simulate(Clock(monkeypatch), 240.0, speed, validation=validation)
    schedules, taken, took = results["pretrain"]
    assert 0.95 * 240 < took < 1.04 * 240
    assert decay_is_complete(schedules, taken)
    assert len(schedules) < 40


def test_a_steady_machine_is_not_planned_anew(monkeypatch):
    schedules, taken, _ = simulate(Clock(monkeypatch), 240.0, lambda _: 0.1)["pretrain"]
    assert len(schedules) == 1
    assert taken == 2400


@pytest.mark.parametrize("at", [20.0, 100.0, 180.0, 235.0])
@pytest.mark.parametrize("lost", [60.0, 1000.0])
def test_a_process_that_was_stopped_still_finishes_its_decay(monkeypatch, at, lost):
    schedules, taken, took = simulate(Clock(monkeypatch), 240.0, lambda _: 0.1, stop=(at, lost))["pretrain"]
    assert decay_is_complete(schedules, taken)
    assert took < max(240.0, at + lost) + 0.15 * 240
    if lost == 60 and at < 180:
        assert took == pytest.approx(240.0, rel=0.04)


def test_both_stages_share_what_is_lost(monkeypatch):
    both = ("pretrain", "finetune")
    results = simulate(Clock(monkeypatch), 120.0, lambda _: 0.1, stages=both, stop=(40.0, 60.0))
    steps = {stage: taken for stage, (_, taken, _) in results.items()}
    assert results["finetune"][2] == pytest.approx(240.0, rel=0.05)
    # Of 200 s that were left, 140 remain: 56 for the rest of the first stage and 84 for the second
    assert steps["pretrain"] == pytest.approx(960, rel=0.06)
    assert steps["finetune"] == pytest.approx(840, rel=0.06)


def test_a_stage_that_decays_early_does_not_grow_again(monkeypatch):
    clock = Clock(monkeypatch)
    planner = TimePlanner({"pretrain": 100.0}, train_config())
    planner.start("pretrain")
    for _ in range(20):
        clock.now += 0.1
        planner.add_step(0.1)
    falling = decaying_now(first_schedule(1000, train_config()), 20, 0.5)
    clock.now += 10
    assert planner.change(falling, 20) is None
    assert planner.seconds_left() == {"pretrain": pytest.approx(88.0)}
