"""Large models: weights in a file beside the graph, and weights that are mapped and not copied."""

import json
import shutil

import numpy as np
import onnx
import pytest

from tinylm.export import decoders, export_bundle
from tinylm.export import graph as graph_module
from tinylm.export.graph import Form, write_graph
from tinylm.export.weights import FloatWeights, Int8Weights
from tinylm.manifest import MAPPED_FILE, MODEL_FILE, read_manifest
from tinylm.runtime import ChatModel
from tinylm.runtime.session import Session, model_bytes, open_bundle
from tinylm.runtime.verification import verify_bundle

DATA_FILE = "model.onnx.data"


@pytest.fixture
def large(monkeypatch):
    """As if every model were large."""
    monkeypatch.setattr(graph_module, "LARGEST_FILE", 50_000)
    monkeypatch.setattr(decoders, "_BEYOND_CACHES", 0)


@pytest.mark.parametrize("form", [Form.FUSED, Form.PORTABLE], ids=str)
@pytest.mark.parametrize("shape", [{}, {"arch": "llama", "tie_embeddings": False}], ids=["classic", "llama"])
def test_weights_beside_the_graph_are_the_same(shape, form, random_model, tmp_path, monkeypatch):
    model = random_model(**shape)
    ids = np.random.default_rng(0).integers(0, 300, 20).tolist()
    logits = []
    for name, limit in (("inside", 2**31), ("outside", 1000)):
        monkeypatch.setattr(graph_module, "LARGEST_FILE", limit)
        (tmp_path / name).mkdir()
        path = tmp_path / name / MODEL_FILE
        write_graph(path, model, FloatWeights(), form)
        logits.append(Session(path, model.config, 1).append(ids).copy())
        assert model_bytes(path) >= 4 * sum(parameter.numel() for parameter in model.parameters())
    assert np.array_equal(*logits)
    assert path.stat().st_size < 200_000
    assert not (tmp_path / "inside" / DATA_FILE).exists()
    tensors = onnx.load(path, load_external_data=False).graph.initializer
    offsets = [int(entry.value) for tensor in tensors for entry in tensor.external_data if entry.key == "offset"]
    assert offsets
    assert all(offset % 4096 == 0 for offset in offsets)


def test_a_bundle_past_the_limit_is_exported_verified_and_chats(large, runs, tmp_path, must):
    out = tmp_path / "fp32"
    must("export", runs["modern"], "--out", out)
    manifest = verify_bundle(out)
    assert {MODEL_FILE, DATA_FILE} < set(manifest.files)
    assert manifest.graph.mapped == ""
    assert manifest.model_bytes == model_bytes(out / MODEL_FILE)
    assert manifest.model_bytes > 4 * manifest.provenance.parameters
    reply = json.loads(must("chat", out, "--prompt", "Hello!", "--temperature", "0", "--json").stdout)
    assert reply["completion_tokens"] > 0
    # Neither int8 nor the folder above it keeps anything of the fp32 graph
    must("export", runs["modern"], "--out", tmp_path / "int8", "--quantize")
    assert DATA_FILE not in verify_bundle(tmp_path / "int8").files
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fp32", "int8"]


@pytest.mark.parametrize("quantize", [True, False], ids=["int8", "fp32"])
def test_mapped_weights_are_those_of_the_model(quantize, runs, tmp_path, monkeypatch):
    monkeypatch.setattr(decoders, "_BEYOND_CACHES", 0)
    out = export_bundle(runs["modern"], tmp_path / "bundle", quantize=quantize).path
    manifest = verify_bundle(out)
    assert manifest.graph.mapped == MAPPED_FILE
    tensors = onnx.load(out / MAPPED_FILE, load_external_data=False).graph.initializer
    inside = sum(len(tensor.raw_data) for tensor in tensors)
    assert inside < 0.2 * (out / MODEL_FILE).stat().st_size
    ids = list(range(6, 26))
    mapped = open_bundle(out, manifest, 1)
    whole = Session(out / MODEL_FILE, manifest.model, 1)
    assert np.array_equal(mapped.append(ids), whole.append(ids))


def test_a_served_copy_has_all_files_that_are_mapped(large, runs, tmp_path):
    bundle = export_bundle(runs["modern"], tmp_path / "bundle").path
    session = open_bundle(bundle, read_manifest(bundle), 1, private=True)
    expected = session.append([6, 7, 8]).copy()
    (bundle / DATA_FILE).write_bytes(bytes((bundle / DATA_FILE).stat().st_size))
    session.truncate(0)
    assert np.array_equal(session.append([6, 7, 8]), expected)


def test_a_bundle_without_its_mapped_graph_is_named(runs, tmp_path, monkeypatch, run_cli):
    monkeypatch.setattr(decoders, "_BEYOND_CACHES", 0)
    bundle = export_bundle(runs["modern"], tmp_path / "bundle", quantize=True).path
    copy = shutil.copytree(bundle, tmp_path / "copy")
    (copy / MAPPED_FILE).unlink()
    result = run_cli("chat", copy, "--prompt", "Hi")
    assert result.exit_code == 1
    assert f"{MAPPED_FILE}: missing from the bundle" in result.stderr


def test_constants_are_found_in_any_order(random_model, tmp_path):
    model = random_model(tie_embeddings=False)
    path = tmp_path / MODEL_FILE
    write_graph(path, model, Int8Weights())
    graph = onnx.load(path)
    reverse = list(graph.graph.initializer)[::-1]
    del graph.graph.initializer[:]
    graph.graph.initializer.extend(reverse)
    large = [tensor.name for tensor in reverse if len(tensor.raw_data) >= 256]
    decoders.share_constants(graph, path)
    data = path.read_bytes()
    whole = {tensor.name: tensor.raw_data for tensor in onnx.load(path).graph.initializer}
    for tensor in graph.graph.initializer:
        if tensor.name in large:
            places = {entry.key: entry.value for entry in tensor.external_data}
            start = int(places["offset"])
            assert data[start : start + int(places["length"])] == whole[tensor.name]


def test_the_python_interface_chats_with_mapped_weights(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(decoders, "_BEYOND_CACHES", 0)
    bundle = export_bundle(runs["classic"], tmp_path / "bundle", quantize=True)
    assert ChatModel(bundle, threads=1).session.model.folder == bundle.path
