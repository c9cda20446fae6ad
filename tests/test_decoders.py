"""Graphs for one token a call: small, of the same weights, chosen by the CPU, and no more than an addition."""

import hashlib
import json
import math
import shutil

import numpy as np
import onnx
import pytest
import torch

from tinylm.errors import BundleError
from tinylm.export import decoders, export_bundle
from tinylm.export.graph import build_graph
from tinylm.export.weights import Int8Weights
from tinylm.manifest import ANY_CPU, DECODE_FILES, X86, read_manifest
from tinylm.run_folder import RunFolder
from tinylm.runtime import ChatModel
from tinylm.runtime import session as session_module
from tinylm.runtime.session import Session, decode_file, open_bundle
from tinylm.runtime.verification import verify_bundle

SHAPES = {
    "classic": {},
    "classic untied": {"tie_embeddings": False},
    "modern": {"arch": "modern", "num_kv_heads": 2},
    "modern untied": {"arch": "modern", "tie_embeddings": False},
    "llama grouped": {"arch": "llama", "num_kv_heads": 2},
    "qwen2": {"arch": "llama", "qkv_bias": True, "tie_embeddings": False},
    "qwen3": {"arch": "llama", "qk_norm": True, "head_size": 32, "num_kv_heads": 1},
    "blocks that need padding": {"d_model": 80, "nhead": 2, "dim_feedforward": 250},
}
LARGER = {"d_model": 256, "nhead": 4, "num_layers": 3, "dim_feedforward": 1024, "vocab_size": 2048}


@pytest.fixture
def every_decoder(monkeypatch):
    """Small models get the graph for x86 as well."""
    monkeypatch.setattr(decoders, "_BEYOND_CACHES", 0)


def write_graphs(model, folder):
    weights = Int8Weights()
    (folder / "model.onnx").write_bytes(build_graph(model, weights).SerializeToString())
    return decoders.write_decoders(folder, model, weights)


def decode(session, ids):
    session.truncate(0)
    return np.stack([session.append([id_]).copy() for id_ in ids])


def random_ids(model, length):
    return np.random.default_rng(0).integers(0, model.config.vocab_size, length).tolist()


@pytest.mark.parametrize("arch", ["classic", "modern"])
def test_they_are_a_few_percent_of_the_model(arch, random_model, tmp_path, every_decoder):
    write_graphs(random_model(arch=arch, **LARGER), tmp_path)
    size = (tmp_path / "model.onnx").stat().st_size
    assert size > 2_500_000
    for file in DECODE_FILES.values():
        assert (tmp_path / file).stat().st_size < 0.05 * size


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_their_weights_are_those_of_the_model(shape, random_model, tmp_path, every_decoder):
    model = random_model(**shape)
    write_graphs(model, tmp_path)
    data = (tmp_path / "model.onnx").read_bytes()
    for file in DECODE_FILES.values():
        graph = onnx.load(tmp_path / file, load_external_data=False).graph
        shared = 0
        for tensor in graph.initializer:
            if tensor.data_location != onnx.TensorProto.EXTERNAL:
                # Of its own it has but what is small
                assert tensor.ByteSize() < 1024
                continue
            places = {entry.key: entry.value for entry in tensor.external_data}
            assert places["location"] == "model.onnx"
            offset, length = int(places["offset"]), int(places["length"])
            itemsize = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
            assert length == math.prod(tensor.dims) * itemsize
            assert 0 < offset < offset + length <= len(data)
            shared += length
        assert shared >= sum(parameter.numel() for parameter in model.parameters() if parameter.ndim == 2)


def test_they_follow_the_bytes_of_the_model_file(random_model, tmp_path, every_decoder):
    """That the weights are read from there shows when they change there."""
    model = random_model()
    write_graphs(model, tmp_path)
    before = [decode(Session(tmp_path / file, model.config, 1), [7, 8]) for file in DECODE_FILES.values()]
    path = tmp_path / "model.onnx"
    graph = onnx.load(path)
    (tensor,) = (each for each in graph.graph.initializer if each.name == "output.weight")
    data = path.read_bytes()
    levels = -np.frombuffer(tensor.raw_data, np.int8)
    path.write_bytes(data.replace(tensor.raw_data, levels.tobytes()))
    after = [decode(Session(tmp_path / file, model.config, 1), [7, 8]) for file in DECODE_FILES.values()]
    for one, other in zip(before, after, strict=True):
        assert np.abs(one - other).max() > 1


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_their_logits_are_as_close_to_torch_as_those_of_the_model(shape, random_model, tmp_path, every_decoder):
    model = random_model(**shape, scale=12.5)
    files = write_graphs(model, tmp_path)
    assert files == DECODE_FILES
    ids = random_ids(model, 120)
    with torch.inference_mode():
        expected = model(torch.tensor([ids]))[0].numpy()

    def error(file):
        logits = decode(Session(tmp_path / "model.onnx", model.config, 1, file and tmp_path / file), ids)
        return np.sqrt(((logits - expected) ** 2).mean()), logits

    cost, by_model = error(None)
    assert 0 < cost < 0.1 * expected.std()
    for file in files.values():
        assert error(file)[0] < 1.2 * cost
    # Without blocks, activations have the same levels, so that what is left is how fp32 is rounded
    assert np.median(np.abs(error(files[ANY_CPU])[1] - by_model)) < 0.2 * cost


@pytest.mark.parametrize("file", DECODE_FILES.values())
def test_prefill_and_decoding_go_on_where_the_other_stopped(file, random_model, tmp_path, every_decoder):
    model = random_model(scale=12.5)
    write_graphs(model, tmp_path)
    ids = random_ids(model, 90)
    session = Session(tmp_path / "model.onnx", model.config, 1, tmp_path / file)
    with torch.inference_mode():
        expected = model(torch.tensor([ids]))[0].numpy()
    start = 0
    for count in (20, 1, 1, 7, 1, 40, 1):
        logits = session.append(ids[start : start + count])
        start += count
        assert np.sqrt(((logits - expected[start - 1]) ** 2).mean()) < 0.1 * expected.std()
    session.truncate(30)
    assert np.sqrt(((session.append(ids[30:31]) - expected[30]) ** 2).mean()) < 0.1 * expected.std()


@pytest.mark.parametrize(("over", "classes"), [(0, {ANY_CPU}), (-1, {ANY_CPU, X86})])
def test_a_model_beyond_the_caches_gets_one_for_x86_too(over, classes, random_model, tmp_path, monkeypatch):
    model = random_model()
    write_graphs(model, tmp_path)
    size = (tmp_path / "model.onnx").stat().st_size
    monkeypatch.setattr(decoders, "_BEYOND_CACHES", size + over)
    (tmp_path / "decode.onnx").unlink()
    assert set(write_graphs(model, tmp_path)) == classes
    assert {path.name for path in tmp_path.glob("decode*")} == {DECODE_FILES[each] for each in classes}


@pytest.mark.parametrize(
    ("files", "avx2", "chosen"),
    [
        (DECODE_FILES, True, "decode-x86.onnx"),
        (DECODE_FILES, False, "decode.onnx"),
        ({ANY_CPU: "decode.onnx"}, True, "decode.onnx"),
        ({ANY_CPU: "decode.onnx"}, False, "decode.onnx"),
        ({X86: "decode-x86.onnx"}, False, None),
        ({}, True, None),
        ({"risc-v": "decode-risc-v.onnx"}, True, None),
    ],
)
def test_the_cpu_chooses(files, avx2, chosen, monkeypatch):
    monkeypatch.setattr(session_module, "has_avx2", lambda: avx2)
    assert decode_file(files) == chosen


# Bundles


@pytest.fixture(scope="module")
def large(runs, tmp_path_factory):
    """A bundle as a model beyond the caches has it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoders, "_BEYOND_CACHES", 0)
        out = tmp_path_factory.mktemp("large") / "bundle"
        export_bundle(RunFolder(runs["modern"]), out, quantize=True)
    return out


def reply(folder):
    model = ChatModel(folder)
    chat = model.start_chat(options=model.default_options(temperature=0, max_new_tokens=20))
    return "".join(chat.send("Hello!")), model


@pytest.mark.parametrize("avx2", [True, False])
def test_a_large_bundle_works_on_every_cpu(avx2, large, monkeypatch):
    manifest = read_manifest(large)
    assert manifest.graph.decode == DECODE_FILES
    assert set(DECODE_FILES.values()) < set(manifest.files)
    assert {"DynamicQuantizeMatMul", "MatMulNBits", "MatMulIntegerToFloat"} < set(manifest.graph.contrib_operators)
    opened = []
    real = session_module.load_onnx
    monkeypatch.setattr(
        session_module, "load_onnx", lambda path, threads: opened.append(path.name) or real(path, threads)
    )
    monkeypatch.setattr(session_module, "has_avx2", lambda: avx2)
    verify_bundle(large)
    _, model = reply(large)
    assert model.session.model.decode_graph is not model.session.model.graph
    assert opened == [DECODE_FILES[X86 if avx2 else ANY_CPU], "mapped.onnx"] * 2


def test_small_fp32_and_portable_bundles_have_what_they_can_use(bundles, runs, tmp_path):
    assert read_manifest(bundles["classic", "int8"]).graph.decode == {ANY_CPU: "decode.onnx"}
    assert read_manifest(bundles["classic", "fp32"]).graph.decode == {}
    portable = export_bundle(str(runs["classic"]), tmp_path / "out", quantize=True, portable=True)
    assert portable.manifest.graph.decode == {}
    for folder in (bundles["classic", "fp32"], tmp_path / "out"):
        assert not list(folder.glob("decode*"))


def test_a_bundle_can_do_without_them(bundles, tmp_path):
    """As one of before them, or for a reader that does not know them: `model.onnx` is complete."""
    folder = shutil.copytree(bundles["modern", "int8"], tmp_path / "bundle")
    said, _ = reply(folder)
    values = json.loads((folder / "manifest.json").read_bytes())
    del values["graph"]["decode"], values["files"]["decode.onnx"], values["manifest_sha256"]
    (folder / "decode.onnx").unlink()
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    values["manifest_sha256"] = hashlib.sha256(canonical.encode()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(values))
    assert read_manifest(folder).graph.decode == {}
    again, model = reply(folder)
    assert again == said
    assert model.session.model.decode_graph is model.session.model.graph
    verify_bundle(folder)


def test_one_that_is_named_but_broken_is_refused(bundles, tmp_path):
    folder = shutil.copytree(bundles["modern", "int8"], tmp_path / "bundle")
    manifest = read_manifest(folder)
    (folder / "decode.onnx").write_bytes(b"no graph" * 10)
    with pytest.raises(BundleError, match=r"decode\.onnx: onnxruntime"):
        open_bundle(folder, manifest)
