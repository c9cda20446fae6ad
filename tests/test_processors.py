"""Cores and threads: counted once, and training, chat and doctor agree on them."""

import json
import os
import subprocess
import sys
import tomllib

import msgspec
import pytest

from tinylm import processors
from tinylm.manifest import MODEL_FILE, read_manifest
from tinylm.processors import omp_num_threads, usable_cores, usable_threads
from tinylm.runtime.demo import DEMO_BUNDLE
from tinylm.runtime.session import default_threads
from tinylm.runtime.threads import best_threads

LARGE = 10**9
VERSION_1 = {
    "proc/self/cgroup": "3:memory:/box\n2:cpu,cpuacct:/box\n0::/\n",
    "sys/fs/cgroup/cpu/box/cpu.cfs_quota_us": "100000\n",
    "sys/fs/cgroup/cpu/box/cpu.cfs_period_us": "100000\n",
}
VERSION_2 = {"proc/self/cgroup": "0::/box\n", "sys/fs/cgroup/box/cpu.max": "100000 100000\n"}


@pytest.fixture
def no_omp(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS")


def put(root, files):
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


@pytest.mark.parametrize(
    ("value", "number"),
    [("1", 1), ("3", 3), (" 2 , 4", 2), ("", None), ("0", None), ("-1", None), ("all", None), (None, None)],
)
def test_omp_num_threads(value, number, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS") if value is None else monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert omp_num_threads() == number
    assert usable_threads(cores=8) == (number or 8)


def test_omp_num_threads_lowers_and_never_raises(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    assert usable_threads(cores=2) == 2
    assert usable_threads() == usable_cores()


def test_processes_share_the_cores(no_omp):
    assert [usable_threads(processes, cores=4) for processes in (1, 2, 3, 8)] == [4, 2, 1, 1]


def test_the_one_thread_that_torchrun_sets_is_not_the_users_wish(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert usable_threads(2, cores=8) == 1
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "any")
    assert usable_threads(2, cores=8) == 4
    assert usable_threads(1, cores=8) == 1  # torchrun sets nothing for one process
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert usable_threads(2, cores=8) == 3


@pytest.mark.parametrize("files", [VERSION_1, VERSION_2])
def test_all_agree_on_the_one_cpu_of_a_container(files, tmp_path, no_omp, must, samples, settings, monkeypatch):
    root = put(tmp_path / "root", files)
    read = processors._read
    monkeypatch.setattr(processors, "_read", lambda path: read(root / path.relative_to("/")))
    monkeypatch.setattr(processors, "allowed_cores", lambda: 2)
    assert usable_cores() == usable_threads() == default_threads(LARGE) == 1
    machine = json.loads(must("doctor", "--json").stdout)["machine"]
    assert (machine["usable_cores"], machine["usable_threads"]) == (1, 1)
    run = tmp_path / "run"
    must("train", "--pretrain", samples / "raw.txt", "--out", run, "--steps", 1, *settings(train_threads=0))
    assert tomllib.loads((run / "config.toml").read_text())["train"]["threads"] == 1
    assert json.loads((run / "metrics.jsonl").read_text().splitlines()[0])["details"]["machine"]["cores"] == 1


ON_ONE_CORE = """
import os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from tinylm.cli.main import cli
cli(sys.argv[1:])
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity masks")
def test_all_agree_on_the_one_cpu_of_an_affinity_mask(tmp_path, no_omp, samples, settings):
    def run(*arguments):
        command = [sys.executable, "-c", ON_ONE_CORE, *map(str, arguments)]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout

    machine = json.loads(run("doctor", "--json"))["machine"]
    assert (machine["usable_cores"], machine["usable_threads"]) == (1, 1)
    assert [one["threads"] for one in json.loads(run("bench", "--json"))["by_threads"]] == [1]
    folder = tmp_path / "run"
    run("train", "--pretrain", samples / "raw.txt", "--out", folder, "--steps", 1, *settings(train_threads=0))
    assert tomllib.loads((folder / "config.toml").read_text())["train"]["threads"] == 1


def test_a_chat_on_one_usable_core_measures_nothing(monkeypatch):
    manifest = read_manifest(DEMO_BUNDLE)
    entry = msgspec.structs.replace(manifest.files[MODEL_FILE], size=LARGE)
    large = msgspec.structs.replace(manifest, files={**manifest.files, MODEL_FILE: entry})
    monkeypatch.setattr("tinylm.runtime.threads.call", lambda *_, **__: pytest.fail("measured"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert best_threads(DEMO_BUNDLE, large) == 1
