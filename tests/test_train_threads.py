"""The number of CPU threads of training follows what other programs leave of the machine."""

import pytest
import torch

from tinylm.training import threads as threads_module
from tinylm.training.threads import ThreadChooser


class Machine:
    """Simulated time, and work that takes longer the more threads have to share cores with other programs."""

    def __init__(self, monkeypatch, cores):
        self.cores, self.busy, self.now, self.threads = cores, 0, 100.0, cores
        self.works = 0
        monkeypatch.setattr(threads_module.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(threads_module.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(torch, "set_num_threads", self.set_threads)

    def set_threads(self, threads):
        self.threads = threads

    def seconds(self, threads):
        free = max(1, self.cores - self.busy)
        # All threads wait for one that has to share its core
        return 0.8 / threads + 0.02 if threads <= free else 0.8 * (threads / free) ** 2

    def work(self):
        self.works += 1
        self.now += self.seconds(self.threads)


def train(machine, chooser, seconds, threads):
    """Steps in simulated time; the numbers of threads that were used."""
    used = []
    end = machine.now + seconds
    while machine.now < end:
        took = machine.seconds(threads)
        machine.now += took
        chooser.add_step(threads, took)
        threads = chooser.wanted(threads)
        assert machine.threads == threads or not used
        used.append(threads)
    return used


@pytest.fixture
def machine(monkeypatch):
    return Machine(monkeypatch, 4)


def test_a_quiet_machine_keeps_all_threads_and_is_hardly_asked(machine):
    chooser = ThreadChooser(4, machine.work)
    assert set(train(machine, chooser, 300, 4)) == {4}
    assert machine.works == 0


def test_fewer_threads_beside_other_programs_and_all_of_them_afterwards(machine):
    chooser = ThreadChooser(4, machine.work)
    train(machine, chooser, 20, 4)
    machine.busy = 2
    used = train(machine, chooser, 60, 4)
    assert used[-1] == 2
    assert used.count(4) < 15
    machine.busy = 3
    assert train(machine, chooser, 60, 2)[-1] == 1
    machine.busy = 0
    assert train(machine, chooser, 200, 1)[-1] == 4


def test_a_lasting_load_is_tried_against_less_and_less_often(machine):
    chooser = ThreadChooser(4, machine.work)
    train(machine, chooser, 20, 4)
    machine.busy = 2
    train(machine, chooser, 60, 4)
    before = machine.works
    began = machine.now
    assert set(train(machine, chooser, 600, 2)) == {2}
    assert machine.works - before < 6 * 600 / 30
    assert machine.now - began < 1.15 * 600


@pytest.mark.parametrize(("busy", "expected"), [(0, 4), (2, 2), (3, 1), (9, 1)])
def test_the_first_number_is_the_fastest_of_all(machine, busy, expected):
    machine.busy = busy
    assert ThreadChooser(4, machine.work).first() == expected
    assert machine.threads == expected
