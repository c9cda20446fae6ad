"""Exports for llama.cpp and transformers: equal logits, equal ids, complete or not there at all."""

import json

import gguf
import numpy as np
import pytest
import sentencepiece
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

from tinylm.chat_format import ChatFormat, TurnFormat, encode_conversation, encode_prompt, encode_text_prompt
from tinylm.errors import ConfigError, TinyLMError
from tinylm.export import export_gguf, export_huggingface
from tinylm.export.chat_template import chat_template
from tinylm.files import new_file
from tinylm.run_folder import RunFolder
from tinylm.tokenizer import CONTROL_PIECES
from tinylm.training.checkpoint import load_run_model

VARIANTS = {
    "llama": {"model_num_kv_heads": 1, "model_tie_embeddings": "false"},
    "qwen2": {"model_qkv_bias": "true", "model_rope_scaling": "linear", "model_rope_factor": 2},
    "qwen3": {"model_qk_norm": "true", "model_head_size": 32, "model_rope_base": 500},
    "llama3": {"model_rope_scaling": "llama3", "model_rope_factor": 8, "model_rope_original_context": 40},
}
TALK = [
    {"role": "system", "content": "You are kind."},
    {"role": "user", "content": "  Hello!\n\nWho are you? "},
    {"role": "assistant", "content": "Émile, a small model.\n"},
    {"role": "user", "content": ""},
    {"role": "assistant", "content": "?"},
    {"role": "user", "content": "▁ 天 x"},
]


@pytest.fixture(scope="session")
def llama_runs(make_run, tmp_path_factory):
    """A run of each family."""
    folder = tmp_path_factory.mktemp("llama-runs")
    return {name: make_run(folder / name, steps=4, model_arch="llama", **changes) for name, changes in VARIANTS.items()}


@pytest.fixture(scope="session")
def folders(llama_runs, tmp_path_factory, must):
    """The folder for transformers of each run."""
    made = {}
    for name, run in llama_runs.items():
        made[name] = tmp_path_factory.mktemp("hugging-face") / name
        must("export", run, "--huggingface", made[name])
    return made


def logits_of(model, ids):
    with torch.inference_mode():
        result = model(torch.tensor([ids]))
    return (result if isinstance(result, torch.Tensor) else result.logits)[0].numpy()


def full_context(model):
    return np.random.default_rng(0).integers(0, model.config.vocab_size, model.config.context_length).tolist()


@pytest.mark.parametrize("name", VARIANTS)
def test_transformers_computes_equal_logits(name, llama_runs, folders):
    model, _, _ = load_run_model(RunFolder(llama_runs[name]))
    peer = transformers.AutoModelForCausalLM.from_pretrained(folders[name]).eval()
    family = "Llama" if name == "llama3" else name.capitalize()
    assert type(peer).__name__ == f"{family}ForCausalLM"
    ids = full_context(model)
    expected = logits_of(model, ids)
    assert expected.std() > 0.1
    assert np.abs(logits_of(peer, ids) - expected).max() < 1e-4
    assert peer.generation_config.eos_token_id == [2]


def test_the_tokenizer_of_transformers_gives_our_ids(llama_runs, folders):
    tokenizer = RunFolder(llama_runs["llama"]).load_tokenizer()
    peer = transformers.AutoTokenizer.from_pretrained(folders["llama"])
    assert (peer.bos_token, peer.eos_token) == ("<bos>", "<eos>")
    assert peer.convert_tokens_to_ids([*CONTROL_PIECES]) == [1, 2, 3, 4, 5]
    for count in range(1, len(TALK) + 1):
        ids = peer.apply_chat_template(TALK[:count], tokenize=True, return_dict=False)
        assert ids == encode_conversation(tokenizer, TALK[:count])
        ids = peer.apply_chat_template(TALK[:count], tokenize=True, return_dict=False, add_generation_prompt=True)
        assert ids == encode_prompt(tokenizer, TALK[:count])
    text = "Once upon a time,\n there was  a cat"
    assert peer(text).input_ids == encode_text_prompt(tokenizer, text)
    assert peer.decode(tokenizer.encode(text)) == text


FORMS = {
    "merged system": {
        "opening": [1],
        "system": TurnFormat(before=[4], prefix="<<SYS>> ", after=[3]),
        "user": TurnFormat(before=[4]),
        "merges_system": True,
    },
    "default system": {"opening": [], "system": TurnFormat(before=[3], after=[2]), "default_system": 'Say "hi"\n'},
    "both": {"opening": [1], "system": TurnFormat(before=[4]), "merges_system": True, "default_system": "Hi"},
    "trimmed": {"opening": [1], "system": TurnFormat(before=[3]), "trims": True},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@settings(max_examples=30, deadline=None)
@given(
    talk=st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.text("ab <\n\"'{}%é")), min_size=1, max_size=5),
    system=st.booleans(),
)
def test_the_template_of_any_format_gives_its_ids(form, talk, system, folders, llama_runs):
    own = RunFolder(llama_runs["llama"]).load_tokenizer()
    values = {
        "user": TurnFormat(before=[4], after=[2]),
        "assistant": TurnFormat(before=[5], prefix=" ", after=[2]),
        **form,
    }
    own.chat_format = ChatFormat(family="test", bos=1, eos=2, ends=[2], **values)
    peer = transformers.AutoTokenizer.from_pretrained(folders["llama"])
    messages = [{"role": role, "content": content} for role, content in talk]
    if system:
        messages.insert(0, {"role": "system", "content": "Be\nkind"})
    found = peer.apply_chat_template(
        messages, chat_template=chat_template(own), tokenize=True, return_dict=False, add_generation_prompt=True
    )
    # As text: what stands beside a message without a control symbol between is tokenized together with it
    assert peer.decode(found) == peer.decode(encode_prompt(own, messages))


def test_roles_of_no_meaning_are_refused_by_the_template(folders):
    peer = transformers.AutoTokenizer.from_pretrained(folders["llama"])
    with pytest.raises(Exception, match="roles system, user and assistant"):
        peer.apply_chat_template([{"role": "tool", "content": "x"}], tokenize=False)


@pytest.mark.parametrize("quantize", [[], ["--quantize"]], ids=["F16", "Q8_0"])
@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3"])
def test_a_gguf_file_holds_the_model(name, quantize, llama_runs, folders, tmp_path, must):
    """transformers has a reader of GGUF files, which knows the order of rows in them."""
    file = tmp_path / "model.gguf"
    must("export", llama_runs[name], "--gguf", file, *quantize)
    model, _, _ = load_run_model(RunFolder(llama_runs[name]))
    kind = gguf.GGMLQuantizationType.Q8_0 if quantize else gguf.GGMLQuantizationType.F16
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                stored = gguf.quants.quantize(parameter.numpy(), kind)
                parameter.copy_(torch.from_numpy(gguf.quants.dequantize(stored, kind)))
    peer = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.from_pretrained(folders[name]))
    tensors = load_gguf_checkpoint(str(file), return_tensors=True, model_to_load=peer)["tensors"]
    missing, unexpected = peer.load_state_dict(tensors, strict=False)
    assert not unexpected
    assert missing == (["lm_head.weight"] if model.config.tie_embeddings else [])
    peer.tie_weights()
    ids = full_context(model)
    assert np.abs(logits_of(peer.eval(), ids) - logits_of(model, ids)).max() < 1e-4


def test_a_gguf_file_holds_tokenizer_template_and_shape(llama_runs, tmp_path, must):
    file = tmp_path / "deep" / "model.gguf"
    must("export", llama_runs["llama3"], "--gguf", file, "--context-length", 64)
    reader = gguf.GGUFReader(file)

    def value(key):
        return reader.get_field(key).contents()

    tokenizer = RunFolder(llama_runs["llama3"]).load_tokenizer()
    processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.serialized())
    assert value("tokenizer.ggml.model") == "llama"
    assert value("tokenizer.ggml.tokens") == tokenizer.pieces()
    scores = [processor.get_score(id_) for id_ in range(tokenizer.vocab_size)]
    assert value("tokenizer.ggml.scores") == pytest.approx(scores)
    types = value("tokenizer.ggml.token_type")
    assert types[:6] == [2, 3, 3, 3, 3, 3]
    assert [types[id_] == 6 for id_ in range(6, len(types))] == [processor.is_byte(id_) for id_ in range(6, len(types))]
    assert (value("tokenizer.ggml.bos_token_id"), value("tokenizer.ggml.eos_token_id")) == (1, 2)
    assert value("tokenizer.ggml.add_bos_token") is True
    assert value("tokenizer.ggml.add_space_prefix") is False
    assert value("tokenizer.chat_template") == chat_template(tokenizer)
    assert value("llama.context_length") == 64
    assert (value("llama.rope.freq_base"), value("llama.attention.layer_norm_rms_epsilon")) == pytest.approx(
        (1e4, 1e-5)
    )
    frequencies = next(tensor for tensor in reader.tensors if tensor.name == "rope_freqs.weight").data
    # The fast ones stay, the slow ones are divided by the factor
    assert frequencies[0] == 1.0
    assert frequencies[-1] == pytest.approx(8.0)


def test_a_shorter_context_changes_nothing_else(llama_runs, tmp_path, must):
    must("export", llama_runs["llama3"], "--huggingface", tmp_path / "hf", "--context-length", 32)
    model, _, _ = load_run_model(RunFolder(llama_runs["llama3"]))
    peer = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "hf").eval()
    assert peer.config.max_position_embeddings == 32
    ids = full_context(model)[:32]
    assert np.abs(logits_of(peer, ids) - logits_of(model, ids)).max() < 1e-4


@pytest.mark.parametrize("options", [["--gguf", "x.gguf"], ["--huggingface", "x"], ["--gguf", "x.gguf", "--out", "b"]])
def test_other_architectures_are_refused_in_one_line(options, runs, tmp_path, monkeypatch, run_cli):
    monkeypatch.chdir(tmp_path)
    result = run_cli("export", runs["modern"], *options)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert "--set model.arch=llama" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "--gguf"),
        (["--gguf", "x.gguf", "--portable"], "--portable is for a bundle"),
        (["--huggingface", "x", "--limit", "greedy_agreement=1"], "--limit is for a bundle"),
        (["--gguf", "x.gguf", "--quantize", "--bits", "4"], "leave out --bits 4"),
        (["--gguf", "x.gguf", "--context-length", "97"], "this model takes 16 to 96"),
        (["--out", "x", "--context-length", "8"], "this model takes 16 to 96"),
    ],
)
def test_options_that_do_not_fit_are_a_usage_error(options, words, llama_runs, tmp_path, monkeypatch, run_cli):
    monkeypatch.chdir(tmp_path)
    result = run_cli("export", llama_runs["llama"], *options)
    assert result.exit_code == 2
    assert words in result.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_replaced_only_when_asked(llama_runs, tmp_path):
    run, file, folder = llama_runs["llama"], tmp_path / "a.gguf", tmp_path / "folder"
    file.write_bytes(b"mine")
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    for export, place in ((export_gguf, file), (export_huggingface, folder)):
        with pytest.raises(TinyLMError, match="exists already"):
            export(run, place)
    with pytest.raises(TinyLMError, match=r"no config\.json"):
        export_huggingface(run, folder, overwrite=True)
    assert (folder / "mine.txt").is_file()
    export_gguf(run, file, overwrite=True)
    assert file.read_bytes()[:4] == b"GGUF"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.gguf", "folder"]


def test_a_file_that_fails_leaves_the_earlier_one(tmp_path):
    file = tmp_path / "a"
    file.write_bytes(b"earlier")

    def write_half():
        with new_file(file) as temporary:
            temporary.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert file.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [file]


def test_the_model_card_shows_how_to_use_it(folders):
    card = (folders["llama"] / "README.md").read_text("utf-8")
    assert "apply_chat_template" in card
    assert json.loads((folders["llama"] / "config.json").read_text())["architectures"] == ["LlamaForCausalLM"]


def test_the_context_is_checked_in_python_too(llama_runs, tmp_path):
    with pytest.raises(ConfigError, match="16 to 96"):
        export_huggingface(llama_runs["llama"], tmp_path / "x", context_length=1000)
