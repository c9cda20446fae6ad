"""The gate: right figures, and nothing left behind by a graph that does not pass."""

import math
import tempfile

import numpy as np
import pytest
import torch
from msgspec import structs

from tinylm.errors import ConfigError, TinyLMError
from tinylm.evaluation import IGNORED, byte_lengths_of, score
from tinylm.export import GateLimits, export_bundle
from tinylm.export import gate as gate_module
from tinylm.export import graph as graph_module
from tinylm.export.gate import POSITIONS, check_limits, gate_windows, most_positions, run_gate
from tinylm.export.graph import build_graph
from tinylm.export.weights import FloatWeights, Int8Weights
from tinylm.manifest import read_manifest
from tinylm.run_folder import RunFolder
from tinylm.runtime.session import Session
from tinylm.training.checkpoint import load_run_model
from tinylm.training.window_losses import model_losses


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    """Where temporary folders go: nothing may be left there."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


def sessions_of(model, folder):
    made = []
    for name, weights in (("fp32", FloatWeights()), ("int8", Int8Weights())):
        path = folder / f"{name}.onnx"
        path.write_bytes(build_graph(model, weights).SerializeToString())
        made.append(Session(path, model.config, 1))
    return made


@pytest.mark.parametrize("arch", ["classic", "modern"])
def test_figures_are_what_they_say(arch, runs, tmp_path):
    run = RunFolder(runs[arch])
    model, tokenizer, state = load_run_model(run)
    fp32, int8 = sessions_of(model, tmp_path)
    windows, sampled = gate_windows(run, state.stage, model, tokenizer, fp32)
    counted = sum(int((window.targets != IGNORED).sum()) for window in windows)
    assert counted >= POSITIONS
    assert 0 < sampled < counted, "the little held-out text comes first, the rest is sampled"
    for window in windows:
        assert len(window.inputs) == len(window.targets) <= model.config.context_length
        assert window.inputs[0] == tokenizer.bos_id
    assert not {id_ for window in windows for id_ in window.targets.tolist()} & set(tokenizer.never_sampled)
    lengths = byte_lengths_of(tokenizer)
    (figures,) = run_gate(model, fp32, [int8], windows, sampled, lengths)
    by_torch = score(lambda chosen: model_losses(model, chosen), windows, lengths)
    assert figures.positions == counted
    assert figures.torch_bits_per_byte == pytest.approx(by_torch.bits_per_byte, rel=1e-5)
    assert figures.torch_loss == pytest.approx(by_torch.loss, rel=1e-5)
    assert figures.fp32_bits_per_byte == pytest.approx(figures.torch_bits_per_byte, rel=1e-6)
    assert figures.bits_per_byte == pytest.approx(figures.loss * counted / math.log(2) / by_torch.bytes)
    expected = 100 * (figures.bits_per_byte / figures.torch_bits_per_byte - 1)
    assert figures.quality_loss_percent == pytest.approx(expected, abs=1e-9)
    assert figures.fp32_logit_difference < 1e-4 < figures.logit_difference
    assert 0.9 < figures.greedy_agreement < 1
    assert figures.prefill_agreement > 0.95
    assert figures.cache_agreement is True
    check_limits(figures, GateLimits())
    (of_fp32,) = run_gate(model, fp32, [fp32], windows[:3], 0, lengths)
    assert of_fp32.greedy_agreement == 1
    assert of_fp32.bits_per_byte == of_fp32.fp32_bits_per_byte
    assert of_fp32.logit_difference == of_fp32.fp32_logit_difference


def test_a_larger_model_is_compared_at_fewer_positions(random_model, monkeypatch):
    model = random_model()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert most_positions(model) == 65_536
    monkeypatch.setattr("tinylm.export.gate._SMALL", parameters // 4)
    assert most_positions(model) == pytest.approx(65_536 / 4, rel=0.01)
    monkeypatch.setattr("tinylm.export.gate._SMALL", parameters // 1000)
    assert most_positions(model) == 4096


def test_torch_and_the_fp32_graph_compute_each_window_once(runs, tmp_path, monkeypatch):
    run = RunFolder(runs["classic"])
    model, tokenizer, state = load_run_model(run)
    fp32, int8 = sessions_of(model, tmp_path)
    windows, _ = gate_windows(run, state.stage, model, tokenizer, fp32)
    windows, lengths, computed = windows[:3], byte_lengths_of(tokenizer), []
    alone = [run_gate(model, fp32, [session], windows, 0, lengths)[0] for session in (int8, fp32)]
    real = gate_module.decode_logits
    monkeypatch.setattr(gate_module, "decode_logits", lambda session, w: computed.append(session) or real(session, w))
    model.register_forward_pre_hook(lambda *_: computed.append(model))
    assert run_gate(model, fp32, [int8, fp32], windows, 0, lengths) == alone
    assert computed.count(model) == 3
    # Once more each for prefill beside decode
    assert [computed.count(session) for session in (int8, fp32)] == [6, 6]


def test_the_manifest_carries_the_figures(bundles):
    gate = read_manifest(bundles["classic", "fp32"]).gate
    assert gate.fp32_logit_difference < 1e-4
    assert gate.positions >= POSITIONS
    assert gate.cache_agreement is True


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("quality_loss_percent", 0.21),
        ("fp32_logit_difference", 0.0011),
        ("greedy_agreement", 0.949),
        ("prefill_agreement", 0.9),
        ("quality_loss_percent", float("nan")),
        ("greedy_agreement", float("nan")),
    ],
)
def test_a_figure_over_its_limit_is_named(name, value, runs, tmp_path):
    run = RunFolder(runs["classic"])
    model, tokenizer, state = load_run_model(run)
    fp32, _ = sessions_of(model, tmp_path)
    windows, _ = gate_windows(run, state.stage, model, tokenizer, fp32)
    (good,) = run_gate(model, fp32, [fp32], windows[:1], 0, byte_lengths_of(tokenizer))
    check_limits(good, GateLimits())
    with pytest.raises(TinyLMError, match=f"{name} is .*nothing was written") as caught:
        check_limits(structs.replace(good, **{name: value}), GateLimits())
    assert "\n" not in str(caught.value)
    with pytest.raises(TinyLMError, match="cache"):
        check_limits(structs.replace(good, cache_agreement=False), GateLimits())


def wrong_weight(graph):
    """The graph with one matrix made wrong."""
    for initializer in graph.graph.initializer:
        if initializer.name == "blocks.1.feedforward.up.weight":
            values = np.frombuffer(initializer.raw_data, np.float32).copy()
            values[::7] += 0.5
            initializer.raw_data = values.tobytes()
            return graph
    raise AssertionError("no such weight")


@pytest.fixture
def wrong_graph(monkeypatch):
    def build(model, weights, form, data):
        graph = build_graph(model, weights, form, data)
        return wrong_weight(graph) if isinstance(weights, FloatWeights) else graph

    monkeypatch.setattr(graph_module, "build_graph", build)


@pytest.mark.parametrize("quantize", [False, True])
def test_a_wrong_graph_does_not_become_a_bundle(quantize, runs, tmp_path, wrong_graph):
    out = tmp_path / "place" / "bundle"
    with pytest.raises(TinyLMError, match="fp32_logit_difference is"):
        export_bundle(RunFolder(runs["classic"]), out, quantize=quantize)
    assert not out.exists()
    assert list((tmp_path / "place").iterdir()) == []


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_wrong_graph_leaves_an_earlier_bundle_alone(runs, tmp_path, run_cli, monkeypatch):
    out = tmp_path / "place" / "bundle"
    export_bundle(RunFolder(runs["classic"]), out)
    before = contents(out)
    monkeypatch.setattr(graph_module, "build_graph", lambda m, *_: wrong_weight(build_graph(m, FloatWeights())))
    result = run_cli("export", runs["classic"], "--out", out, "--overwrite")
    assert result.exit_code == 1
    assert result.stderr.count("Error:") == 1
    assert "quality_loss_percent is" in result.stderr or "fp32_logit_difference is" in result.stderr
    assert contents(out) == before
    assert [path.name for path in (tmp_path / "place").iterdir()] == ["bundle"]


def test_a_limit_on_the_command_line_is_obeyed(runs, tmp_path, run_cli, must):
    out = tmp_path / "place" / "bundle"
    result = run_cli("export", runs["classic"], "--out", out, "--limit", "fp32_logit_difference=1e-12")
    assert result.exit_code == 1
    assert "fp32_logit_difference is" in result.stderr
    assert "(limit 1e-12)" in result.stderr
    assert not out.exists()
    must("export", runs["classic"], "--out", out, "--limit", "quality_loss_percent=5", "--limit", "greedy_agreement=0")
    assert out.is_dir()


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("greedy=1", "known are quality_loss_percent"),
        ("greedy_agreement", "not a number"),
        ("greedy_agreement=", "not a number"),
        ("greedy_agreement=much", "not a number"),
        ("=1", "known are"),
        ("greedy_agreement=nan", "not a number"),
    ],
)
def test_limits_that_make_no_sense(setting, problem):
    with pytest.raises(ConfigError, match=problem):
        GateLimits.parse([setting])


def test_limits_are_parsed():
    assert GateLimits.parse([]) == GateLimits()
    parsed = GateLimits.parse(["quality_loss_percent=0.5", "greedy_agreement=1e-1"])
    assert (parsed.quality_loss_percent, parsed.greedy_agreement) == (0.5, 0.1)
    assert parsed.prefill_agreement == GateLimits().prefill_agreement


def test_best_and_last_checkpoint(runs, tmp_path):
    """`--checkpoint` is what it says: a last checkpoint with other weights gives another bundle."""
    import shutil

    from safetensors.torch import load_file, save_file

    run = tmp_path / "run"
    shutil.copytree(runs["classic"], run)
    weights = run / "checkpoints" / "last" / "model.safetensors"
    tensors = {name: tensor + 0.01 * torch.ones_like(tensor) for name, tensor in load_file(weights).items()}
    save_file(tensors, weights)
    hashes = {}
    for checkpoint in ("best", "last"):
        bundle = export_bundle(run, tmp_path / checkpoint, checkpoint=checkpoint)
        hashes[checkpoint] = bundle.manifest.files["model.onnx"].sha256
    assert hashes["best"] != hashes["last"]


def test_export_is_deterministic(runs, tmp_path):
    made = [export_bundle(RunFolder(runs["modern"]), tmp_path / name, quantize=True) for name in "ab"]
    first, second = (bundle.manifest for bundle in made)
    assert set(first.files) == {"decode.onnx", "model.onnx", "tokenizer.model"}
    # All but the speed that was measured
    assert second.provenance.speed.decode_tokens_per_second > 0
    provenance = structs.replace(second.provenance, speed=first.provenance.speed)
    assert first == structs.replace(second, provenance=provenance)


def test_sampled_text_is_not_passed_off_as_held_out(bundles, must):
    folder = bundles["classic", "int8"]
    sampled = read_manifest(folder).gate.sampled_positions
    assert f"({sampled:,} of them sampled from the model" in (folder / "README.md").read_text()
    assert "partly sampled" in must("info", folder).stdout
