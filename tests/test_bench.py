"""`tinylm bench`: what it measures, shows and remembers."""

import json

import pytest

from tinylm.manifest import read_manifest
from tinylm.runtime import benchmark
from tinylm.runtime.benchmark import ThreadsBenchmark, best_of, default_contexts
from tinylm.runtime.demo import DEMO_BUNDLE
from tinylm.runtime.device.bandwidth import memory_bandwidth
from tinylm.runtime.device.memory import bytes_read, weight_bytes
from tinylm.runtime.threads import best_threads

KEYS = [
    "load_s",
    "time_to_first_token_s",
    "prefill_tokens_per_second",
    "decode_tokens_per_second",
    "threads",
    "peak_rss_mb",
    "idle_cpu_percent",
]
BANDWIDTH = ["memory_gb_per_s", "read_gb_per_s"]


@pytest.fixture
def quick(monkeypatch):
    """Two cores, and a measurement that takes no time: more threads are faster."""
    monkeypatch.setattr(benchmark, "usable_threads", lambda: 2)

    def measured(_, __, threads, contexts):
        speeds = {"prefill_tokens_per_second": 9.0, "decode_tokens_per_second": 100.0 * threads}
        return {
            **dict.fromkeys((*KEYS, *BANDWIDTH), 1.0),
            **speeds,
            "threads": threads,
            "prompt_tokens": 48,
            "context": 48,
            "contexts": [{"context": context, **speeds} for context in contexts],
        }

    monkeypatch.setattr(benchmark, "call", measured)


def test_one_json_object(bundle, must):
    result = must("bench", bundle, "--json", "--threads", 1, "--threads", 2, "--context", 8, "--context", 60)
    assert result.stdout.count("\n") == 1
    values = json.loads(result.stdout)
    assert list(values)[: len(KEYS)] == KEYS
    assert [one["threads"] for one in values["by_threads"]] == [1, 2]
    for one in (values, *values["by_threads"]):
        assert all(one[name] > 0 for name in (*KEYS, *BANDWIDTH) if name != "idle_cpu_percent")
        assert 0 <= one["idle_cpu_percent"] < 50
    for one in values["by_threads"]:
        assert [at["context"] for at in one["contexts"]] == [8, 60]
        assert all(value > 0 for at in one["contexts"] for name, value in at.items() if name != "context")
    best = values["by_threads"][values["threads"] - 1]
    assert all(best[name] == values[name] for name in KEYS)


def test_every_precision_and_kind_can_be_measured(bundles, text_bundle, must):
    for folder in (bundles["modern", "fp32"], text_bundle):
        values = json.loads(must("bench", folder, "--json", "--threads", 1, "--context", 95).stdout)
        assert values["context"] == 95


def test_the_bytes_that_a_token_reads(bundles):
    small = read_manifest(DEMO_BUNDLE)
    size = DEMO_BUNDLE.joinpath("model.onnx").stat().st_size
    assert weight_bytes(small) == pytest.approx(size, rel=0.1)
    # Keys and values of 4 layers of 224 wide, fp32
    assert bytes_read(small, 100) == weight_bytes(small) + 2 * 4 * 224 * 100 * 4
    fp32, int8 = (read_manifest(bundles["modern", precision]) for precision in ("fp32", "int8"))
    assert weight_bytes(fp32) == 4 * weight_bytes(int8)


def test_memory_is_faster_than_a_disk_and_slower_than_light():
    assert 0.1 < memory_bandwidth(1) < 10_000


def test_the_table_marks_the_best(quick, bundle, must):
    result = must("bench", bundle)
    assert "2 threads (best)" in result.stdout
    assert "1 thread " in result.stdout
    for row in ("decode after 0", "decode after 72", "prefill after 48", "load", "first token of 48", "reads", "peak"):
        assert row in result.stdout
    assert "take 2 threads from now on" in result.stderr


def test_what_was_found_best_is_remembered_for_chats(quick, bundle, must, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("tinylm.runtime.threads.usable_threads", lambda: 2)
    manifest = read_manifest(bundle)
    must("bench", bundle, "--threads", 2)
    assert best_threads(bundle, manifest) == 1
    must("bench", bundle)
    assert best_threads(bundle, manifest) == 2


def test_more_threads_are_best_only_by_a_clear_gain():
    def best(*speeds):
        figures = dict.fromkeys(ThreadsBenchmark.__struct_fields__, 0)
        measured = [{**figures, "threads": 2**n, "decode_tokens_per_second": speed} for n, speed in enumerate(speeds)]
        return best_of([ThreadsBenchmark(**one) for one in measured]).threads

    assert best(100, 103, 104) == 1
    assert best(100, 110, 112) == 2
    assert best(100, 90, 120) == 4


def test_contexts_that_fit(bundle, monkeypatch):
    manifest = read_manifest(bundle)
    assert default_contexts(manifest) == [0, 48, 72]
    assert default_contexts(read_manifest(DEMO_BUNDLE)) == [0, 128, 192]


def test_a_context_that_the_bundle_does_not_have_is_refused(bundle, run_cli):
    result = run_cli("bench", bundle, "--context", 96)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == "Error: context 96: must be less than this bundle's 96 tokens"
    assert run_cli("bench", bundle, "--threads", 0).exit_code == 2


def test_no_bundle_is_one_line(tmp_path, run_cli):
    result = run_cli("bench", tmp_path / "none", "--json")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert [line.startswith("Error: ") for line in result.stderr.splitlines()] == [True]
