"""How many threads a bundle gets: remembered, measured or guessed."""

import copy
import importlib
import os
import pickle
import shutil
import sys
from pathlib import Path
from pkgutil import resolve_name

import pytest

from tinylm import user_cache
from tinylm.errors import ConfigError, DataError, TinyLMError, rebuild_error
from tinylm.manifest import read_manifest
from tinylm.runtime import ChatModel, threads
from tinylm.runtime.device import subprocess_call
from tinylm.runtime.device.subprocess_call import ChildError, call, python_can_start
from tinylm.runtime.threads import best_threads, candidates, climb, measure_threads, remember_threads


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """A machine of four cores that remembers nothing, on which every bundle is worth measuring."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(threads, "usable_threads", lambda: 4)
    monkeypatch.setattr(threads, "_ONE_THREAD_BYTES", 0)


@pytest.fixture
def calls(monkeypatch):
    """What was asked of other processes; each answers 2."""
    asked = []
    monkeypatch.setattr(threads, "call", lambda *arguments, **_: asked.append(arguments) or 2)
    return asked


def test_measured_once_and_remembered(fresh, calls, bundle):
    manifest = read_manifest(bundle)
    assert [best_threads(bundle, manifest) for _ in range(3)] == [2, 2, 2]
    assert calls == [("tinylm.runtime.threads:measure_threads", str(bundle), [1, 2, 4])]


def test_a_chat_uses_it(fresh, calls, bundle):
    assert ChatModel(bundle).session.threads == 2
    assert ChatModel(bundle, threads=3).session.threads == 3
    assert len(calls) == 1


def test_other_files_other_cores_another_onnxruntime_are_measured_anew(fresh, calls, bundle, bundles, monkeypatch):
    manifest = read_manifest(bundle)
    best_threads(bundle, manifest)
    best_threads(bundles["modern", "int8"], read_manifest(bundles["modern", "int8"]))
    assert len(calls) == 2
    monkeypatch.setattr(threads, "usable_threads", lambda: 2)
    best_threads(bundle, manifest)
    assert len(calls) == 3
    monkeypatch.setattr(threads.onnxruntime, "__version__", "9.9")
    best_threads(bundle, manifest)
    assert len(calls) == 4
    monkeypatch.setattr(threads, "cpu_name", lambda: "another")
    best_threads(bundle, manifest)
    assert len(calls) == 5


def test_a_copy_of_the_bundle_elsewhere_is_the_same_bundle(fresh, calls, bundle, tmp_path):
    best_threads(bundle, read_manifest(bundle))
    copy = shutil.copytree(bundle, tmp_path / "copy")
    assert best_threads(copy, read_manifest(copy)) == 2
    assert len(calls) == 1


def test_one_core_and_very_small_models_are_not_measured(fresh, calls, bundle, monkeypatch):
    manifest = read_manifest(bundle)
    monkeypatch.setattr(threads, "usable_threads", lambda: 1)
    assert best_threads(bundle, manifest) == 1
    monkeypatch.undo()
    assert best_threads(bundle, manifest) == 1
    assert calls == []


def test_what_bench_found_counts_for_very_small_models_too(bundle, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(threads, "usable_threads", lambda: 4)
    manifest = read_manifest(bundle)
    remember_threads(manifest, 4)
    assert best_threads(bundle, manifest) == 4


@pytest.mark.parametrize("text", ["", "many", "0", "-1", "5", "9999999999"])
def test_a_remembered_number_that_cannot_be_is_measured_anew(text, fresh, calls, bundle, tmp_path):
    manifest = read_manifest(bundle)
    best_threads(bundle, manifest)
    [path] = (tmp_path / "cache" / "tinylm" / "threads").iterdir()
    path.write_text(text)
    assert best_threads(bundle, manifest) == 2
    assert len(calls) == 2


def test_without_a_cache_the_size_decides(fresh, calls, bundle, tmp_path):
    (tmp_path / "cache").write_text("a file")
    assert not user_cache.is_writable()
    assert best_threads(bundle, read_manifest(bundle)) == 1
    assert calls == []


def test_a_measurement_that_fails_is_not_tried_at_every_start(fresh, bundle, monkeypatch):
    asked = []

    def fail(*arguments, **options):
        asked.append(arguments)
        raise ChildError("crashed with SIGILL")

    monkeypatch.setattr(threads, "call", fail)
    assert [best_threads(bundle, read_manifest(bundle)) for _ in range(2)] == [1, 1]
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("cores", "expected"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (4, [1, 2, 4]), (6, [1, 2, 4, 6])]
)
def test_candidates(cores, expected):
    assert candidates(cores) == expected


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        ({1: 1.0, 2: 2.0, 4: 0.1}, 1),
        ({1: 1.0, 2: 0.97, 4: 0.1}, 1),
        ({1: 1.0, 2: 0.6, 4: 0.59}, 2),
        ({1: 1.0, 2: 0.6, 4: 0.4}, 4),
    ],
)
def test_more_threads_need_a_clear_gain(seconds, best, monkeypatch):
    loaded = []
    monkeypatch.setattr(threads, "speed_ratio", lambda one, other: one / other)
    assert climb(list(seconds), lambda count: loaded.append(count) or seconds[count]) == best
    # What lies beyond a step without gain is never loaded
    assert loaded == [count for count in seconds if count <= 2 * best]


def test_a_real_measurement_in_a_process_of_its_own(bundle, text_bundle):
    for folder in (bundle, text_bundle):
        assert measure_threads(str(folder), [1, 2]) in {1, 2}
    assert call("tinylm.runtime.threads:measure_threads", str(bundle), [1, 2]) in {1, 2}


def test_a_process_hands_back_results_errors_and_crashes(tmp_path):
    assert call("tinylm.runtime.threads:candidates", 4) == [1, 2, 4]
    with pytest.raises(TinyLMError, match="no such bundle"):
        call("tinylm.runtime.threads:measure_threads", str(tmp_path / "none"), [1])
    with pytest.raises(ChildError, match="crashed with SIGABRT"):
        call("os:abort")
    with pytest.raises(ChildError, match="status 7"):
        call("os:_exit", 7)
    with pytest.raises(ChildError, match="TypeError"):
        call("tinylm.runtime.threads:candidates")
    with pytest.raises(ChildError, match="no result after"):
        call("time:sleep", 60, timeout=0.5)


@pytest.mark.parametrize(
    ("executable", "starts"),
    [
        ("/usr/bin/python", True),
        ("/usr/bin/python3.13t", True),
        ("/opt/python3.11-intel64", True),
        ("C:/Python311/pythonw.exe", True),
        ("C:/Python311/python_d.exe", True),
        ("/usr/bin/pypy3.10", True),
        ("/opt/my-app/my-app", False),
        ("/opt/my-app/pythonic-app", False),
        ("/usr/sbin/uwsgi", False),
        ("", False),
        (None, False),
    ],
)
def test_only_an_interpreter_is_started(executable, starts, monkeypatch):
    monkeypatch.setattr(sys, "executable", executable)
    assert python_can_start() == starts


@pytest.mark.parametrize("frozen", ["by name", "by attribute", "by Nuitka"])
def test_a_frozen_program_is_not_started_again(frozen, fresh, calls, bundle, tmp_path, monkeypatch):
    program = tmp_path / ("python" if frozen != "by name" else "my-app")
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    if frozen == "by attribute":
        monkeypatch.setattr(sys, "frozen", True, raising=False)
    elif frozen == "by Nuitka":
        monkeypatch.setitem(vars(subprocess_call), "__compiled__", "a version")
    assert best_threads(bundle, read_manifest(bundle)) == 1
    assert calls == []
    # What the user asks for is done in this process
    assert call("tinylm.runtime.threads:candidates", 4) == [1, 2, 4]
    with pytest.raises(TinyLMError, match="no such bundle"):
        call("tinylm.runtime.threads:measure_threads", str(tmp_path / "none"), [1])
    assert not (tmp_path / "started").exists()


ARGUMENTS = ("mine.txt", 7, "broken")


def every_error_class(repository):
    """All subclasses of TinyLMError, in every module of the package."""
    for folder in ("tinylm", "cli", "data", "export", "runtime"):
        for path in (repository / folder).rglob("*.py"):
            module = ".".join(path.relative_to(repository).with_suffix("").parts)
            if not path.name.startswith("__"):
                importlib.import_module(module if folder == "tinylm" else f"tinylm.{module}")
    found, left = set(), [TinyLMError]
    while left:
        kind = left.pop()
        found.add(kind)
        left += kind.__subclasses__()
    return sorted((kind for kind in found if kind.__module__.startswith("tinylm.")), key=lambda kind: kind.__name__)


def raise_it(name, attributes):
    """Raise an error of a class; called in a process of its own."""
    raise rebuild_error(resolve_name(name), ARGUMENTS, attributes)


def test_errors_of_every_class_come_back_from_another_process(repository, monkeypatch):
    classes = every_error_class(repository)
    assert {"DataError", "ConfigError", "ChildError", "_NoRoomLeftError"} <= {kind.__name__ for kind in classes}
    monkeypatch.setenv("PYTHONPATH", f"{repository / 'tests'}{os.pathsep}{repository}")
    for kind in classes:
        attributes = {"path": "mine.txt", "line": 7, "problem": "broken", "prompt_tokens": 9}
        error = rebuild_error(kind, ARGUMENTS, attributes)
        for copied in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
            assert type(copied) is kind
            assert (str(copied), vars(copied)) == (str(error), attributes)
        assert error.exit_code == kind.exit_code
    for kind in (DataError, ConfigError, ChildError):
        with pytest.raises(kind, match=r"mine\.txt.*7.*broken") as caught:
            call("test_threads:raise_it", f"{kind.__module__}:{kind.__qualname__}", attributes)
        assert type(caught.value) is kind
        assert vars(caught.value) == attributes


def test_a_data_error_with_a_line_comes_back_from_another_process(tmp_path):
    (tmp_path / "mine.jsonl").write_text('{"messages": 7}\n')
    with pytest.raises(DataError) as caught:
        call("tinylm.data:load_conversation_data", str(tmp_path / "mine.jsonl"))
    assert (caught.value.path, caught.value.line) == (str(tmp_path / "mine.jsonl"), 1)
    assert str(caught.value).startswith(f"{tmp_path / 'mine.jsonl'}:1: ")


def test_an_error_of_an_unknown_class_comes_back_as_the_base(repository, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{repository / 'tests'}{os.pathsep}{repository}")
    with pytest.raises(TinyLMError, match="of a function's own") as caught:
        call("test_threads:raise_own")
    assert type(caught.value) is TinyLMError


def raise_own():
    """Raise an error whose class no other process can find."""

    class OwnError(TinyLMError):
        pass

    raise OwnError("of a function's own")


def test_a_file_in_the_working_folder_is_not_taken_for_a_module(tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    assert call("tinylm.runtime.threads:candidates", 1) == [1]


def test_the_cache_remembers_and_forgives(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache.recall("kind", "key") is None
    user_cache.remember("kind", "key", "what")
    assert user_cache.recall("kind", "key") == "what"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "tinylm" / "kind" / "key"))
    user_cache.remember("kind", "key", "what")
    assert user_cache.recall("kind", "key") is None


def test_where_the_cache_is(monkeypatch, tmp_path):
    import platformdirs

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache.cache_folder() == tmp_path / "tinylm"
    for unset in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", unset)
        assert user_cache.cache_folder() == platformdirs.user_cache_path("tinylm", appauthor=False)
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda *_, **__: Path("~/.cache/tinylm"))
    with pytest.raises(RuntimeError, match="no home"):
        user_cache.cache_folder()
    assert not user_cache.is_writable()
    assert user_cache.recall("kind", "key") is None
    user_cache.remember("kind", "key", "what")
