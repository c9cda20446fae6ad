"""arch = "llama" against transformers: equal logits at every position, in torch and in the ONNX graphs."""

import json

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from tinylm.config import ModelConfig, make_config
from tinylm.errors import ConfigError, TinyLMError
from tinylm.export.graph import Form, build_graph
from tinylm.export.huggingface import huggingface_config, huggingface_tensors
from tinylm.export.weights import FloatWeights
from tinylm.runtime.session import Session
from tinylm.runtime.verification import verify_bundle

SCALED = {
    "none": {},
    "linear": {"rope_scaling": "linear", "rope_factor": 3.0},
    # Frequencies that are lowered, kept and between
    "llama3": {"rope_scaling": "llama3", "rope_factor": 8.0, "rope_original_context": 40},
}
FAMILIES = {"llama": {}, "qwen2": {"qkv_bias": True}, "qwen3": {"qk_norm": True, "head_size": 48}}


@st.composite
def shapes(draw):
    """A small Llama, Qwen2 or Qwen3."""
    family = draw(st.sampled_from(sorted(FAMILIES)))
    heads = draw(st.sampled_from([2, 4]))
    return {
        "arch": "llama",
        "vocab_size": draw(st.sampled_from([264, 331])),
        "d_model": 16 * heads,
        "nhead": heads,
        "num_kv_heads": draw(st.sampled_from([1, 2, heads])),
        "num_layers": draw(st.integers(1, 3)),
        "dim_feedforward": draw(st.sampled_from([40, 64])),
        "context_length": 96,
        "tie_embeddings": draw(st.booleans()),
        "rope_base": draw(st.sampled_from([500.0, 1e4, 1e6])),
        "norm_epsilon": draw(st.sampled_from([1e-6, 1e-5, 1e-2])),
        **FAMILIES[family],
        **SCALED[draw(st.sampled_from(sorted(SCALED)))],
    }


def reference(model):
    """The same model in transformers."""
    config = huggingface_config(model.config)
    peer = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(**config))
    missing, unexpected = peer.load_state_dict(huggingface_tensors(model), strict=False)
    assert not unexpected
    assert missing == (["lm_head.weight"] if model.config.tie_embeddings else [])
    peer.tie_weights()
    return peer.eval()


def logits_of(model, ids):
    with torch.inference_mode():
        result = model(torch.as_tensor(ids)[None])
    return (result if isinstance(result, torch.Tensor) else result.logits)[0].numpy()


def random_ids(model):
    return np.random.default_rng(0).integers(0, model.config.vocab_size, model.config.context_length).tolist()


@settings(max_examples=25, deadline=None)
@given(shape=shapes())
def test_logits_are_those_of_transformers_in_torch_and_onnx(shape, random_model, tmp_path_factory):
    model = random_model(scale=8, **shape)
    ids = random_ids(model)
    expected = logits_of(reference(model), ids)
    assert expected.std() > 0.5, "else the comparison would say little"
    assert np.abs(logits_of(model, ids) - expected).max() < 1e-4
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    for form in (Form.FUSED, Form.PORTABLE):
        path.write_bytes(build_graph(model, FloatWeights(), form).SerializeToString())
        session = Session(path, model.config, 1)
        decoded = np.stack([session.append([id_]).copy() for id_ in ids])
        assert np.abs(decoded - expected).max() < 1e-4
        session.truncate(7)
        assert np.abs(session.append(ids[7:]) - expected[-1]).max() < 1e-4


@pytest.mark.parametrize(
    "options",
    [*SCALED.values(), {"rope_base": 500.0}, {"norm_epsilon": 0.1}, {"qkv_bias": True}, {"qk_norm": True}][1:],
    ids=str,
)
def test_each_option_changes_the_logits(options, random_model):
    """Else equal logits would not tell that the option was used."""
    shape = {"arch": "llama", "vocab_size": 264, "context_length": 96, "num_layers": 1}
    model, plain = random_model(**shape, **options), random_model(**shape)
    ids = random_ids(model)
    assert np.abs(logits_of(plain, ids) - logits_of(model, ids)).max() > 1e-2


PRECISIONS = {
    "int8": ["--quantize", "--genai"],
    "int4": ["--quantize", "--bits", "4", "--limit", "quality_loss_percent=20", "--limit", "greedy_agreement=0.5"],
    "portable": ["--portable"],
}


@pytest.fixture(scope="session")
def llama_run(make_run, tmp_path_factory):
    """A trained run with grouped heads, heads of a width of their own and QK-norm."""
    changes = {"model_arch": "llama", "model_num_kv_heads": 1, "model_head_size": 32, "model_qk_norm": "true"}
    return make_run(tmp_path_factory.mktemp("llama") / "run", steps=32, **changes)


@pytest.mark.parametrize("options", PRECISIONS.values(), ids=PRECISIONS)
def test_a_run_is_exported_through_the_gate_and_chats(options, llama_run, tmp_path, must):
    out = tmp_path / "bundle"
    must("export", llama_run, *options, "--out", out)
    manifest = verify_bundle(out)
    assert (manifest.model.arch, manifest.model.head_dim, manifest.model.kv_heads) == ("llama", 32, 1)
    assert manifest.gate.fp32_logit_difference < 1e-3
    reply = json.loads(must("chat", out, "--prompt", "Hello!", "--temperature", "0", "--json").stdout)
    assert reply["completion_tokens"] > 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"arch": "classic", "qkv_bias": True}, 'qkv_bias needs arch = "llama", and arch is "classic"'),
        ({"arch": "modern", "rope_base": 5e5}, 'rope_base needs arch = "llama", and arch is "modern"'),
        ({"arch": "modern", "head_size": 32}, 'head_size needs arch = "llama", and arch is "modern"'),
        ({"arch": "llama", "head_size": 40}, "head_size (40) must be a multiple of 16"),
        ({"arch": "llama", "qkv_bias": True, "qk_norm": True}, "qkv_bias (Qwen2) and qk_norm (Qwen3) do not go"),
        ({"arch": "llama", "rope_factor": 2}, 'rope_factor needs rope_scaling = "linear" or "llama3"'),
        ({"arch": "llama", "rope_high_freq_factor": 0.5}, "rope_high_freq_factor must be greater than"),
        ({"arch": "llama", "rope_scaling": "yarn"}, "invalid enum value 'yarn'; there is none, linear, llama3"),
    ],
)
def test_what_does_not_go_together_is_refused(values, message):
    with pytest.raises(ConfigError) as error:
        make_config({"model": values})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_width_of_a_head_is_free():
    model = ModelConfig(arch="llama", d_model=100, nhead=3, num_kv_heads=1, head_size=16)
    assert (model.head_dim, model.block_weights) == (16, 6 * 100 * (2 * 4 * 16 + 3 * 1024))


def test_a_run_of_the_other_architectures_has_no_form_there():
    with pytest.raises(TinyLMError, match=r"model\.arch=llama"):
        huggingface_config(ModelConfig(arch="modern"))
