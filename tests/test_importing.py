"""`tinylm import`: the model, its tokenizer and its chat format become a run, as they are."""

import json

import numpy as np
import pytest
import torch
import transformers
from byte_level import tokenizer_json
from foreign_models import SHAPE, SMOLLM2_TEMPLATE, write_gguf, write_huggingface

from tinylm.chat_format import encode_conversation
from tinylm.errors import RunError
from tinylm.export import export_bundle
from tinylm.importing import import_model
from tinylm.provenance import read_imported
from tinylm.run_folder import RunFolder
from tinylm.runtime import ChatModel
from tinylm.training.checkpoint import load_run_model

CHATS = [{"role": "user", "content": "The quick brown fox\njumps."}, {"role": "assistant", "content": "over 1234 dogs"}]


def parameters(model):
    return {name: parameter.detach().numpy() for name, parameter in model.named_parameters()}


def assert_same(found, expected, tolerance=0.0):
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        error = np.abs(found[name] - values).max()
        assert error <= tolerance * max(1.0, np.abs(values).max()), name


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("Llama", {"tie_word_embeddings": True}),
        (
            "Llama",
            {
                "rope_scaling": {
                    "rope_type": "llama3",
                    "factor": 8.0,
                    "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0,
                    "original_max_position_embeddings": 40,
                }
            },
        ),
        ("Mistral", {"sliding_window": None}),
        ("Qwen2", {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}),
        ("Qwen3", {"head_dim": 48, "tie_word_embeddings": True, "vocab_size": 400}),
    ],
)
def test_logits_are_those_of_transformers(family, changes, tmp_path):
    config = getattr(transformers, f"{family}Config")(
        **{
            "vocab_size": SHAPE["vocab_size"],
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 96,
            "initializer_range": 0.3,
            **changes,
        }
    )
    torch.manual_seed(0)
    peer = getattr(transformers, f"{family}ForCausalLM")(config).eval()
    with torch.no_grad():
        for parameter in peer.parameters():
            if parameter.ndim == 1:  # norms and biases are ones and zeros at the start, which would hide a mistake
                parameter.add_(0.2 * torch.randn_like(parameter))
    peer.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "tokenizer.json").write_bytes(tokenizer_json())
    run = import_model(tmp_path / "model", tmp_path / "run")
    model, tokenizer, state = load_run_model(run.folder)
    size = SHAPE["vocab_size"]
    ids = torch.randint(0, size, (1, 96))
    with torch.inference_mode():
        expected, found = peer(ids).logits[..., :size], model(ids)[..., :size]
    assert expected.std() > 0.5
    assert (found - expected).abs().max() < 1e-4
    assert state.stage == "pretrain"
    assert tokenizer.vocab_size == size + 3, "no template: three roles are added"


@pytest.mark.parametrize("shards", [1, 3])
def test_a_folder_keeps_weights_tokenizer_and_chat_format(random_model, tmp_path, shards):
    model = random_model(**SHAPE)
    folder = write_huggingface(tmp_path / "model", model, shards=shards, dtype=torch.bfloat16)
    said = []
    run = import_model(folder, tmp_path / "run", notify=said.append)
    found, tokenizer, state = load_run_model(run.folder)
    assert said == []
    assert_same(parameters(found), parameters(model.bfloat16().float()))
    assert found.config == model.config
    assert (state.stage, state.finished) == ("finetune", True)
    assert json.loads(tokenizer.serialized())["model"] == json.loads(tokenizer_json())["model"]
    peer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), chat_template=SMOLLM2_TEMPLATE
    )
    assert encode_conversation(tokenizer, CHATS) == peer.apply_chat_template(CHATS, return_dict=False)
    imported = read_imported(run.folder.imported)
    assert imported == run.model
    assert (imported.name, imported.license, imported.chat_format) == ("model", "apache-2.0", "chatml")
    with pytest.raises(RunError, match="exists already"):
        import_model(folder, tmp_path / "run")


@pytest.mark.parametrize(
    ("kind", "tolerance"),
    [("F32", 0), ("F16", 1e-3), ("BF16", 1e-2), ("Q8_0", 1e-2), ("Q4_0", 0.15), ("Q4_1", 0.15)],
)
def test_a_gguf_file_keeps_weights_tokenizer_and_chat_format(random_model, tmp_path, kind, tolerance):
    model = random_model(**SHAPE)
    path = write_gguf(tmp_path / "model.gguf", model, kind=kind)
    run = import_model(path, tmp_path / "run")
    found, tokenizer, _ = load_run_model(run.folder)
    assert_same(parameters(found), parameters(model), tolerance)
    text = "The quick  brown fox\n\n1234 天 <|im_start|>"
    folder = write_huggingface(tmp_path / "model", model)
    other = import_model(folder, tmp_path / "other").folder.load_tokenizer()
    assert tokenizer.encode(text) == other.encode(text)
    assert tokenizer.chat_format == other.chat_format
    assert run.model.license == "apache-2.0"


@pytest.mark.parametrize("changes", [{"qkv_bias": True}, {"qk_norm": True, "head_size": 32, "tie_embeddings": False}])
def test_a_gguf_file_of_qwen_has_its_rows_in_order(random_model, tmp_path, changes):
    model = random_model(**SHAPE, **changes)
    run = import_model(write_gguf(tmp_path / "model.gguf", model), tmp_path / "run")
    found, _, _ = load_run_model(run.folder)
    assert_same(parameters(found), parameters(model))


@pytest.mark.parametrize("kind", ["Q4_K", "Q6_K"])
def test_blocks_of_256_weights_are_read_as_gguf_reads_them(kind, tmp_path):
    import gguf
    from gguf import GGMLQuantizationType as Kind

    from tinylm.importing.gguf_file import GgufFile

    block, size = gguf.GGML_QUANT_SIZES[Kind[kind]]
    raw = np.random.default_rng(0).integers(0, 60, (3, 2 * size), np.uint8)
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "llama")
    writer.add_tensor("odd", raw, raw_dtype=Kind[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = GgufFile(tmp_path / "model.gguf").read("odd")
    assert found.shape == (3, 2 * block)
    np.testing.assert_array_equal(found, gguf.dequantize(raw, Kind[kind]))


def test_an_imported_chat_model_is_exported_and_chats(random_model, run_cli, tmp_path):
    folder = write_huggingface(tmp_path / "model", random_model(**SHAPE))
    done = run_cli("import", folder, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert "knows the chat format chatml" in done.stderr
    assert "Licence: apache-2.0" in done.stderr
    bundle = export_bundle(tmp_path / "run", tmp_path / "bundle")
    assert bundle.manifest.chat_format.family == "chatml"
    assert bundle.manifest.provenance.imported.license == "apache-2.0"
    assert "apache-2.0" in (bundle.path / "README.md").read_text()
    assert bundle.manifest.files.keys() == {"model.onnx", "tokenizer.json"}
    model = ChatModel(bundle)
    chat = model.start_chat(options=model.default_options(max_new_tokens=5, seed=0))
    for text in ("The <|im_start|>fox", "jumps"):
        reply = "".join(chat.send(text))
        assert reply == chat.messages[-1]["content"]
    start = model.tokenizer.chat_format.user.before[0]
    assert model.session.ids.count(start) == 5, "a system message, two of the user and two replies"
    shown = run_cli("info", bundle.path, "--verify")
    assert shown.exit_code == 0, shown.output
    assert "apache-2.0" in shown.output


def test_training_goes_on_from_an_imported_model(random_model, tmp_path):
    from tinylm.training import train

    folder = write_huggingface(tmp_path / "model", random_model(**SHAPE), template=None)
    run = import_model(folder, tmp_path / "run")
    assert run.model.chat_format == "roles"
    (tmp_path / "chats.jsonl").write_text((json.dumps({"messages": CHATS}) + "\n") * 30)
    trained = train(finetune=[tmp_path / "chats.jsonl"], init=tmp_path / "run", out=tmp_path / "on", steps=2)
    tokenizer = RunFolder(tmp_path / "on").load_tokenizer()
    assert trained.finished
    assert tokenizer.chat_format.family == "roles"
    assert tokenizer.piece_of(tokenizer.chat_format.user.before[0]) == "<user>"
    assert read_imported(RunFolder(tmp_path / "on").imported) == run.model
