"""Locks between programs."""

import errno
import os
import subprocess
import sys
import threading

import pytest

from tinylm.file_lock import LockedError, file_lock


def test_a_lock_is_held_once_and_leaves_nothing(tmp_path):
    path = tmp_path / "lock"
    with file_lock(path):
        with pytest.raises(LockedError), file_lock(path):
            pass
        assert path.exists()
    with file_lock(path):
        pass
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError), file_lock(tmp_path / "none" / "lock"):
        pass


def test_who_waits_for_a_lock_gets_it_and_is_told(tmp_path):
    path = tmp_path / "lock"
    order, waiting = [], threading.Event()

    def wait():
        with file_lock(path, 60, waiting.set):
            order.append("second")

    with file_lock(path):
        thread = threading.Thread(target=wait)
        thread.start()
        assert waiting.wait(60)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_many_threads_are_never_in_a_lock_together(tmp_path):
    inside, most = 0, 0

    def enter():
        nonlocal inside, most
        for _ in range(20):
            with file_lock(tmp_path / "lock", 60):
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_the_lock_of_a_process_that_dies_is_free(tmp_path):
    script = (
        "import os, sys, pathlib; from tinylm.file_lock import file_lock\n"
        "with file_lock(pathlib.Path(sys.argv[1])): print('held', flush=True); os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path / "lock"], check=False, timeout=60)
    assert (tmp_path / "lock").exists()
    with file_lock(tmp_path / "lock"):
        pass


def test_without_locks_in_a_file_system_nothing_is_locked(tmp_path, monkeypatch):
    import fcntl

    def refuse(*arguments):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with file_lock(tmp_path / "lock"), file_lock(tmp_path / "lock"):
        pass
