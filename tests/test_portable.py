"""The portable graph: standard operators alone, on which torch, ONNX's reference evaluator and onnxruntime agree."""

import itertools
import json

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator

from tinylm.export.graph import Form, build_graph
from tinylm.export.weights import FloatWeights, Int8Weights
from tinylm.manifest import MODEL_FILE, read_manifest
from tinylm.runtime.ort import onnxruntime
from tinylm.runtime.session import PREFILL_CHUNK, Session, TokenSequence
from tinylm.runtime.verification import verify_bundle

SHAPES = {
    "classic tied": {},
    "classic untied": {"tie_embeddings": False},
    "modern tied": {"arch": "modern"},
    "modern grouped": {"arch": "modern", "num_kv_heads": 2},
    "modern one kv head": {"arch": "modern", "num_kv_heads": 1, "tie_embeddings": False, "num_layers": 3},
    "qwen3": {"arch": "llama", "qk_norm": True, "head_size": 32, "num_kv_heads": 1},
}
WEIGHTS = {"fp32": lambda _: FloatWeights(), "int8": Int8Weights}
every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
every_weights = pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
# Prefill, decode one by one, a chunk on top, and on
CHUNKS = (20, 1, 1, 1, 11, 1, 5)
# An activation on the border of two levels may be rounded either way, which moves logits by a part of what int8
# costs anyway; here the logits have a spread of about 4, and int8 moves them by up to 0.5. Else they agree to 1e-5
INT8_TOLERANCE = 0.2


class Evaluation:
    """The raw graph in a loop that hands over the cache."""

    def __init__(self, graph, config, batch, reference=False):
        if reference:
            self.run = ReferenceEvaluator(graph).run
        else:
            self.run = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"]).run
        layers = itertools.product(range(config.num_layers), ("key", "value"))
        empty = np.zeros((batch, config.kv_heads, 0, config.head_dim), np.float32)
        self.cache = {f"past_key_values.{number}.{part}": empty for number, part in layers}
        self.mask = np.ones((batch, 0), np.int64)
        self.previous = {} if not config.shifts_tokens else {"previous_ids": None}

    def append(self, ids, mask=None):
        """Logits [batch, vocab_size] after ids [batch, length]."""
        self.mask = np.concatenate([self.mask, np.ones_like(ids) if mask is None else mask], axis=1)
        if self.previous:
            before = self.previous["previous_ids"]
            self.previous = {"previous_ids": ids[:, :1] if before is None else before}
        logits, *cache = self.run(None, {"input_ids": ids, "attention_mask": self.mask, **self.previous, **self.cache})
        self.previous = dict.fromkeys(self.previous, ids[:, -1:])
        self.cache = dict(zip(self.cache, cache, strict=True))
        return logits[:, 0]

    def append_in_chunks(self, ids):
        """Logits [chunk, batch, vocab_size] after each of `CHUNKS`."""
        ends = np.cumsum(CHUNKS)
        return np.stack([self.append(ids[:, end - count : end]) for end, count in zip(ends, CHUNKS, strict=True)])


def session_of(model, weights, folder, portable=True):
    path = folder / f"{'portable' if portable else 'fused'}.onnx"
    form = Form.PORTABLE if portable else Form.FUSED
    path.write_bytes(build_graph(model, weights, form).SerializeToString())
    return Session(path, model.config, 1)


def torch_logits(model, ids):
    with torch.inference_mode():
        return model(torch.as_tensor(ids)).numpy()


def random_ids(model, *shape):
    return np.random.default_rng(0).integers(0, model.config.vocab_size, shape)


@every_weights
@every_shape
def test_there_are_standard_operators_only_and_shapes_can_be_inferred(shape, weights, random_model):
    model = random_model(**shape)
    config = model.config
    graph = build_graph(model, weights(True), Form.PORTABLE)
    assert [(entry.domain, entry.version) for entry in graph.opset_import] == [("", 23)]
    assert {node.domain for node in graph.graph.node} == {""}
    onnx.checker.check_model(graph, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(graph, check_type=True, strict_mode=True, data_prop=True).graph
    typed = {value.name for value in (*inferred.value_info, *inferred.output)}
    assert {name for node in inferred.node for name in node.output} <= typed
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    shapes = {value.name: value.shape for value in (*session.get_inputs(), *session.get_outputs())}
    assert shapes.pop("input_ids") == ["batch", "length"]
    assert shapes.pop("attention_mask") == ["batch", "total"]
    assert shapes.pop("previous_ids", None) == (["batch", 1] if config.shifts_tokens else None)
    assert shapes.pop("logits") == ["batch", 1, config.vocab_size]
    for number, part in itertools.product(range(config.num_layers), ("key", "value")):
        for name, tokens in (("past_key_values", "past"), ("present", "total")):
            expected = ["batch", config.kv_heads, tokens, config.head_dim]
            assert shapes.pop(f"{name}.{number}.{part}") == expected
    assert not shapes


@every_shape
def test_torch_the_reference_evaluator_and_onnxruntime_agree(shape, random_model):
    model = random_model(**shape)
    graph = build_graph(model, FloatWeights(), Form.PORTABLE)
    ids = random_ids(model, 2, sum(CHUNKS))
    expected = torch_logits(model, ids)[:, np.cumsum(CHUNKS) - 1].swapaxes(0, 1)
    # Else the comparison would say little
    assert expected.std() > 1
    for reference in (True, False):
        logits = Evaluation(graph, model.config, 2, reference).append_in_chunks(ids)
        assert np.abs(logits - expected).max() < 1e-4


@every_shape
def test_int8_is_the_same_by_the_reference_evaluator_and_by_onnxruntime(shape, random_model):
    model = random_model(**shape)
    graph = build_graph(model, Int8Weights(portable=True), Form.PORTABLE)
    ids = random_ids(model, 2, sum(CHUNKS))
    expected = torch_logits(model, ids)[:, np.cumsum(CHUNKS) - 1].swapaxes(0, 1)
    by_reference, by_onnxruntime = (
        Evaluation(graph, model.config, 2, reference).append_in_chunks(ids) for reference in (True, False)
    )
    assert np.abs(by_reference - by_onnxruntime).max() < INT8_TOLERANCE
    for logits in (by_reference, by_onnxruntime):
        assert np.sqrt(((logits - expected) ** 2).mean()) < 0.1 * expected.std()


@pytest.mark.parametrize("reference", [True, False], ids=["reference", "onnxruntime"])
@every_shape
def test_hidden_tokens_on_the_left_change_nothing(shape, reference, random_model):
    model = random_model(**shape)
    graph = build_graph(model, FloatWeights(), Form.PORTABLE)
    ids, hidden = random_ids(model, 2, 20), 7
    ids[0, :hidden] = ids[0, hidden]  # what a token shift sees before the first token is that one
    alone = torch_logits(model, ids[:1, hidden:])[0]
    whole = torch_logits(model, ids[1:])[0]
    mask = np.ones((2, 15), np.int64)
    mask[0, :hidden] = 0
    evaluation = Evaluation(graph, model.config, 2, reference)
    logits = [evaluation.append(ids[:, :15], mask), *(evaluation.append(ids[:, [end]]) for end in range(15, 20))]
    for end, (first, second) in zip(range(14, 20), logits, strict=True):
        assert np.abs(first - alone[end - hidden]).max() < 1e-4
        assert np.abs(second - whole[end]).max() < 1e-4


@every_shape
def test_the_runtimes_session_equals_torch_at_every_position_of_a_full_context(shape, random_model, tmp_path):
    model = random_model(**shape)
    session = session_of(model, FloatWeights(), tmp_path)
    ids = random_ids(model, model.config.context_length)
    expected = torch_logits(model, ids[None])[0]
    decoded = np.stack([session.append([id_]).copy() for id_ in ids.tolist()])
    assert np.abs(decoded - expected).max() < 1e-4
    # Prefill, also on top of a cache that was cut back
    for kept, added in ((0, len(ids)), (0, PREFILL_CHUNK + 1), (PREFILL_CHUNK + 1, 3), (37, 90), (1, 200), (0, 1)):
        session.truncate(kept)
        logits = session.append(ids[kept : kept + added].tolist())
        assert np.abs(logits - expected[kept + added - 1]).max() < 1e-4
        assert session.length == kept + added


@every_shape
def test_greedy_tokens_equal_those_of_the_fused_graph(shape, random_model, tmp_path):
    model = random_model(**shape)
    said = []
    for portable in (False, True):
        session = session_of(model, FloatWeights(), tmp_path, portable)
        ids = random_ids(model, 20).tolist()
        pending = ids
        for _ in range(200):
            logits = session.append(pending).copy()
            # The likeliest that is not there yet: random weights like to repeat themselves
            logits[ids] = -np.inf
            pending = [int(logits.argmax())]
            ids = ids + pending
        said.append(ids)
    assert said[0] == said[1]
    assert len(set(said[0])) > 100


@every_weights
def test_a_prompt_in_two_calls_is_that_prompt(weights, random_model, tmp_path):
    model = random_model(arch="modern", num_kv_heads=2)
    session = session_of(model, weights(True), tmp_path)
    ids = random_ids(model, 2 * PREFILL_CHUNK).tolist()
    session.append(ids[:PREFILL_CHUNK])
    assert session.ids == ids[:PREFILL_CHUNK]
    resumed = session.append(ids[PREFILL_CHUNK:]).copy()
    session.truncate(0)
    assert np.array_equal(session.append(ids), resumed)


@every_weights
@pytest.mark.parametrize("portable", [False, True], ids=["fused", "portable"])
@pytest.mark.parametrize("arch", ["classic", "modern"])
def test_the_file_does_not_grow_with_the_context(arch, portable, weights, random_model):
    form = Form.PORTABLE if portable else Form.FUSED
    models = [random_model(arch=arch, context_length=length) for length in (256, 4096)]
    short, long = (len(build_graph(model, weights(portable), form).SerializeToString()) for model in models)
    assert abs(long - short) < 100


@pytest.mark.parametrize("portable", [False, True], ids=["fused", "portable"])
@pytest.mark.parametrize("arch", ["classic", "modern"])
def test_the_end_of_a_context_of_4096_is_right(arch, portable, random_model, tmp_path):
    model = random_model(arch=arch, context_length=4096, d_model=32, nhead=2, dim_feedforward=64)
    session = session_of(model, FloatWeights(), tmp_path, portable)
    ids = random_ids(model, 4096)
    expected = torch_logits(model, ids[None])[0]
    decoded = [session.append(ids[:4080].tolist()).copy()]
    decoded += [session.append([id_]).copy() for id_ in ids[4080:].tolist()]
    assert np.abs(np.stack(decoded) - expected[4079:]).max() < 1e-4
    session.truncate(4000)
    assert np.abs(session.append(ids[4000:].tolist()) - expected[-1]).max() < 1e-4


def test_tied_embedding_is_stored_once(random_model):
    tied, untied = random_model(), random_model(tie_embeddings=False)
    table = tied.config.vocab_size * tied.config.d_model
    for weights, size in zip(WEIGHTS.values(), (4, 1), strict=True):
        sizes = [len(build_graph(model, weights(True), Form.PORTABLE).SerializeToString()) for model in (tied, untied)]
        assert abs(sizes[1] - sizes[0] - table * size) < 4 * tied.config.vocab_size + 500


@pytest.mark.parametrize("quantize", [[], ["--quantize"]], ids=WEIGHTS)
@pytest.mark.parametrize("arch", ["classic", "modern"])
def test_a_portable_bundle_passes_its_gate_and_chats(arch, quantize, runs, bundles, tmp_path, must):
    out = tmp_path / "bundle"
    must("export", runs[arch], "--portable", *quantize, "--out", out)
    manifest = verify_bundle(out)
    assert manifest.graph.precision == ("int8" if quantize else "fp32")
    assert manifest.graph.contrib_operators == []
    assert {node.domain for node in onnx.load(out / MODEL_FILE).graph.node} == {""}
    assert manifest.gate.fp32_logit_difference < 1e-3
    if not quantize:
        assert manifest.golden == read_manifest(bundles[arch, "fp32"]).golden
    reply = json.loads(must("chat", out, "--prompt", "Hello!", "--temperature", "0", "--json").stdout)
    assert reply["completion_tokens"] > 0


def test_a_sequence_goes_on_from_the_beginning_of_another(random_model, tmp_path):
    model = random_model(arch="modern")
    session = session_of(model, Int8Weights(True), tmp_path)
    session.append([5, 6, 7])
    copied = TokenSequence(session.model)
    copied.copy_start(session, 2)
    session.append([9])
    session.truncate(2)
    assert list(copied.ids) == [5, 6]
    assert (copied.append([8]) == session.append([8])).all()
