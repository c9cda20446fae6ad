"""The benchmarks' own code: what they compute from times, and that their loops do what they say."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from gguf import GGUFReader

from tinylm.config import ModelConfig
from tinylm.errors import TinyLMError

FOLDER = Path(__file__).parents[1] / "benchmarks"
MODULES = ("loops", "shapes", "graphs", "bare", "bandwidth", "workers", "systems", "report", "decode")
TINY = ModelConfig(
    d_model=32, nhead=2, num_layers=2, dim_feedforward=48, vocab_size=300, context_length=256, tie_embeddings=False
)


@pytest.fixture(scope="module")
def benchmarks():
    """The modules, which find each other as they do when a script among them runs."""
    sys.path.insert(0, str(FOLDER))
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
    finally:
        sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def tiny_model(benchmarks, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "int8"
    benchmarks.systems.write_model(benchmarks.shapes.Shape(TINY, 32), path)
    return path


def group_of(benchmarks, **speeds: list[float]):
    """Measurements in which every metric ran at these speeds."""
    return {
        key: benchmarks.report.Measurements(
            {"file_mb": 2.0}, {m.name: [m.tokens / speed for speed in values] for m in benchmarks.loops.METRICS}
        )
        for key, values in speeds.items()
    }


def test_a_token_reads_as_many_bytes_as_in_llama_and_hardly_more(benchmarks):
    for shape in benchmarks.shapes.SHAPES.values():
        width, layers = shape.config.d_model, shape.config.num_layers
        llama = layers * (4 * width**2 + 3 * width * shape.llama_feedforward) + width * shape.config.vocab_size
        assert shape.llama_weights_per_token == llama
        assert 1 <= shape.weights_per_token / (llama * 34 / 32) < 1.02


def test_weights_per_token_are_the_matrices_of_the_graph(benchmarks, tiny_model):
    shape = benchmarks.shapes.Shape(TINY, 32)
    graph = onnx.load(tiny_model / "model.onnx").graph
    matrices = sum(np.prod(t.dims) for t in graph.initializer if t.data_type == onnx.TensorProto.INT8)
    assert shape.weights_per_token == matrices - TINY.vocab_size * TINY.d_model - 1  # the embedding table, the zero


def test_a_run_is_measured_in_int8_and_in_q8_0(benchmarks, make_run, monkeypatch, tmp_path):
    changes = {"model_arch": "llama", "model_num_kv_heads": 1, "model_tie_embeddings": "false"}
    run = make_run(tmp_path / "run", steps=32, **changes)
    with pytest.raises(TinyLMError, match=r"run: a context of \d+ tokens; 964 are measured"):
        benchmarks.systems.export_run(run, tmp_path)
    monkeypatch.setattr(benchmarks.systems, "METRICS", (benchmarks.loops.Metric("decode", 8, 4),))
    (tmp_path / "models").mkdir()
    shape = benchmarks.systems.export_run(run, tmp_path / "models")
    (tmp_path / "llama-bench").touch()
    systems, _ = benchmarks.systems.choose_systems(tmp_path / "llama-bench", without_peers=False, of_a_run=True)
    assert {system.model for system in systems} == {path.name for path in (tmp_path / "models").iterdir()}
    assert {system.key for system in systems} == {"tinylm_int8_runtime", "tinylm_int8", *benchmarks.systems.PEER}
    tensors = GGUFReader(tmp_path / "models" / "Q8_0").tensors
    read = sum(int(tensor.n_elements) for tensor in tensors if len(tensor.shape) == 2 and "embd" not in tensor.name)
    assert shape.weights_per_token == shape.llama_weights_per_token == read


def test_ratio_is_to_the_faster_llama(benchmarks):
    group = group_of(benchmarks, tinylm_int8=[90, 100, 400], llama_q8_0=[10, 40, 41], llama_q8_0_no_fa=[20, 50, 51])
    assert benchmarks.report.ratios("S", 1, group) == pytest.approx(
        {"S.prefill": 2, "S.decode": 2, "S.decode_empty": 2, "S.decode_900": 2}
    )
    names = ("prefill", "decode", "decode_empty", "decode_900")
    assert set(benchmarks.report.ratios("M", 2, group)) == {f"M.{name}_2t" for name in names}


def test_no_ratio_without_llama(benchmarks):
    assert benchmarks.report.ratios("S", 1, group_of(benchmarks, tinylm_int8=[1.0])) == {}


def test_figures(benchmarks):
    system = next(s for s in benchmarks.systems.SYSTEMS if s.key == "tinylm_fp32")
    shape = benchmarks.shapes.Shape(TINY, 32)
    group = group_of(benchmarks, tinylm_fp32=[100, 200, 300, 400, 500])
    figures = benchmarks.report.figures("S", shape, 2, [system], group, bandwidth=1e9)
    assert figures["S.tinylm_fp32.decode_900_2t"] == pytest.approx(300)
    assert figures["S.tinylm_fp32.decode_900_2t.quartiles"] == pytest.approx([200, 400])
    assert figures["S.tinylm_fp32.file_mb_2t"] == 2
    assert figures["S.tinylm_fp32.read_share_2t"] == pytest.approx(4 * shape.weights_per_token * 300 / 1e9)


def test_four_significant_digits(benchmarks):
    assert benchmarks.report.rounded({"a": 1234.567, "b": [0.000123446, 2.0]}) == {"a": 1235, "b": [0.0001234, 2]}


def test_table(benchmarks, capsys):
    systems = [s for s in benchmarks.systems.SYSTEMS if s.key == "tinylm_int8"]
    benchmarks.report.print_table("S, one thread", systems, group_of(benchmarks, tinylm_int8=[1000, 2000, 3000]))
    printed = capsys.readouterr().out
    assert "2,000 (1,500-2,500)" in printed
    assert all(name in printed for name in ("S, one thread", "TinyLM int8", "decode_900", "peak MB"))


def test_bare_loop_decodes_what_the_runtime_does(benchmarks, tiny_model):
    from tinylm.runtime.session import Session

    bare = benchmarks.bare.BareLoop(tiny_model, TINY, 1)
    decode = benchmarks.bare.decode_path(tiny_model)
    assert decode is not None
    session = Session(tiny_model / "model.onnx", TINY, 1, decode)
    ids = benchmarks.loops.tokens_for(20, TINY.vocab_size)
    bare.prefill(ids[:12])
    bare.decode(ids[12:])
    session.append(ids[:12])
    for token in ids[12:]:
        logits = session.append([token])
    np.testing.assert_array_equal(bare.logits[0, 0], logits)
    bare.keep(15)
    bare.decode(ids[15:])
    np.testing.assert_array_equal(bare.logits[0, 0], logits)


def test_every_measurement_ends_with_its_tokens_in_the_cache(benchmarks, tiny_model):
    metric = benchmarks.loops.Metric
    for kind in ("BareLoop", "RuntimeLoop"):
        loop = getattr(benchmarks.bare, kind)(tiny_model, TINY, 1)
        for case in (metric("a", 0, 9, at_once=True), metric("b", 30, 20), metric("c", 30, 20), metric("d", 0, 9)):
            assert loop.seconds(case) > 0
            length = loop._length if kind == "BareLoop" else loop._session.length
            assert length == case.context + case.tokens


def test_tokens_are_spread_over_the_vocabulary(benchmarks):
    ids = benchmarks.loops.tokens_for(128, 4096)
    assert len(set(ids)) == 128
    assert {token * 8 // 4096 for token in ids} == set(range(8))  # every eighth of it


def test_worker_measures_in_its_own_process(benchmarks, tiny_model):
    with benchmarks.workers.Worker() as worker:
        once = worker.call(benchmarks.workers.load, "bare:BareLoop", tiny_model, TINY, 1, {})
        assert set(once) == {"load_s", "time_to_first_token_s"}
        assert worker.call(benchmarks.workers.seconds, benchmarks.loops.Metric("decode", 0, 5)) > 0
        assert worker.call(benchmarks.workers.peak_rss_mb) > 10
        with pytest.raises(TinyLMError, match="nowhere"):
            worker.call(benchmarks.workers.load, "bare:BareLoop", Path("nowhere"), TINY, 1, {})
    assert benchmarks.workers._system is None


def test_memory_is_read_by_every_thread(benchmarks):
    memory = benchmarks.bandwidth.MemoryBuffer(2**20)
    assert all(memory.gigabytes_per_second(threads) > 0 for threads in (1, 2, 3))


@pytest.fixture
def llama_bench(benchmarks, tmp_path):
    """Makes a stand-in for llama.cpp's program, which prints what it is told to and keeps its arguments."""

    def make(printed: str, code: int = 0):
        program = tmp_path / "llama-bench"
        program.write_text(f"#!/bin/sh\necho \"$@\" > {tmp_path}/arguments\necho '{printed}'\nexit {code}\n")
        program.chmod(0o755)
        module = importlib.import_module("peers.llama_bench")
        return module.LlamaBench(Path("S.gguf"), TINY, 2, program=program, flash_attention=False)

    return make


def test_llama_bench_is_asked_for_the_metric(benchmarks, llama_bench, tmp_path):
    bench = llama_bench('[{"avg_ns": 2500000000}]')
    assert bench.seconds(benchmarks.loops.Metric("decode_900", 900, 64)) == 2.5
    arguments = (tmp_path / "arguments").read_text()
    assert "-m S.gguf -t 2 -fa 0" in arguments
    assert "-p 0 -n 64 -d 900" in arguments
    bench.seconds(benchmarks.loops.Metric("prefill", 0, 128, at_once=True))
    assert "-p 128 -n 0 -d 0" in (tmp_path / "arguments").read_text()


@pytest.mark.parametrize("printed", ["no such model", "[]", "[{}]"])
def test_llama_bench_that_fails_is_named(benchmarks, llama_bench, printed):
    with pytest.raises(TinyLMError, match=r"llama-bench: exit code 3, it said: nothing"):
        llama_bench(printed, 3).seconds(benchmarks.loops.METRICS[0])


def test_missing_peers_are_named_as_packages(benchmarks, monkeypatch):
    monkeypatch.setattr(benchmarks.systems, "find_spec", lambda name: None if name != "gguf" else name)
    systems, missing = benchmarks.systems.choose_systems(None, without_peers=False)
    assert missing == ["llama-cpp-python", "onnxruntime-genai"]
    assert [system.key for system in systems] == ["tinylm_fp32", "tinylm_int8_runtime", "tinylm_int8"]
    assert benchmarks.systems.choose_systems(None, without_peers=True) == (systems, [])
    systems, missing = benchmarks.systems.choose_systems(Path("llama-bench"), without_peers=False)
    assert missing == ["onnxruntime-genai"]
    peers = [system for system in systems if system.key.startswith("llama")]
    assert len(peers) == 3
    assert all(system.options["program"] == Path("llama-bench") for system in peers)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shapes", "XL"], "--shapes: invalid choice: 'XL'"),
        (["--repeats", "0"], "--repeats: 0 is less than 1"),
        (["--threads", "two"], "--threads: invalid"),
        (["--llama-bench", "missing/llama-bench"], "--llama-bench missing/llama-bench: not a program"),
        (["--llama-bench", "."], "--llama-bench .: not a program"),
        (["--out", "missing/results.json"], "--out missing/results.json: cannot be written"),
    ],
)
def test_wrong_arguments_are_named(benchmarks, capsys, arguments, message):
    with pytest.raises(SystemExit) as exit_:
        benchmarks.decode.parse_arguments(arguments)
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_results_have_ratios_and_figures(benchmarks, monkeypatch, tmp_path, capsys):
    """Everything but the measuring itself, which would need a peer and a while."""
    group = group_of(benchmarks, tinylm_int8=[100.0], llama_q8_0=[50.0])
    systems = [system for system in benchmarks.systems.SYSTEMS if system.key in group]
    monkeypatch.setattr(benchmarks.decode, "choose_systems", lambda *_: (systems, []))
    monkeypatch.setattr(benchmarks.decode, "write_models", lambda *_: None)
    monkeypatch.setattr(benchmarks.decode, "measure", lambda *_: (group, [10.0, 20.0, 60.0]))
    assert benchmarks.decode.main(["--shapes", "S", "M", "--out", str(tmp_path / "results.json")]) == 0
    results = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert results == json.loads((tmp_path / "results.json").read_text())
    assert results["ratios"]["S.decode"] == results["ratios"]["M.prefill_2t"] == 2
    assert results["figures"]["M.llama_q8_0.decode_900_2t"] == 50
    assert results["figures"]["bandwidth_gb_s"] == 20


def test_failing_system_ends_the_run_with_one_line(benchmarks, monkeypatch, capsys, tmp_path):
    broken = benchmarks.systems.System("broken", "Broken", "bare:BareLoop", "int8", 1)
    (tmp_path / "int8").mkdir()
    (tmp_path / "int8" / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(TinyLMError, match=r"^Broken does not run: .*model\.onnx"):
        benchmarks.decode.measure(benchmarks.shapes.Shape(TINY, 32), 1, [broken], tmp_path, 1)
    monkeypatch.setattr(benchmarks.decode, "choose_systems", lambda *_: ([broken], ["peer"]))

    def fail(*arguments):
        raise TinyLMError("Broken does not run: because")

    monkeypatch.setattr(benchmarks.decode, "run", fail)
    assert benchmarks.decode.main([]) == 1
    assert "pip install peer" in (said := capsys.readouterr().err)
    assert said.splitlines()[-1] == "Error: Broken does not run: because"
