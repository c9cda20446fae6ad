"""Files of strangers: a model that does not fit, or is made to do harm, is refused in one line and leaves nothing."""

import json
import pickle
import random
import re
import struct

import pytest
import torch
from byte_level import tokenizer_json
from foreign_models import SHAPE, write_gguf, write_huggingface, write_json

from tinylm.errors import TinyLMError
from tinylm.importing import import_model

MUTATIONS = 300


@pytest.fixture
def folder(random_model, tmp_path):
    return write_huggingface(tmp_path / "model", random_model(**SHAPE))


@pytest.fixture
def gguf_file(random_model, tmp_path):
    return write_gguf(tmp_path / "model.gguf", random_model(**SHAPE))


def refused(path, problem):
    out = path.parent / "run"
    with pytest.raises(TinyLMError, match=problem) as error:
        import_model(path, out)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400
    assert not out.exists()
    assert not list(path.parent.glob(".run*"))


def change(folder, name, **changes):
    values = json.loads((folder / name).read_text())
    write_json(folder / name, {key: value for key, value in {**values, **changes}.items() if value != "gone"})


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"model_type": "gpt2"}, r"config\.json: model_type is 'gpt2'; models of type llama"),
        ({"model_type": ["llama"]}, r"model_type is \['llama'\]"),
        ({"hidden_size": 2**60}, "hidden_size is 1152921504606846976"),
        ({"hidden_size": "gone"}, "hidden_size is missing"),
        ({"hidden_size": 1e3}, "hidden_size is 1000.0"),
        ({"num_hidden_layers": 2**60}, "num_hidden_layers"),
        ({"num_hidden_layers": 3}, r"the tensor model\.layers\.2\.\S+ is missing"),
        ({"num_hidden_layers": 1}, r"the tensor model\.layers\.1\.\S+ has no place"),
        ({"num_attention_heads": 0}, "num_attention_heads"),
        ({"num_key_value_heads": 3}, "num_kv_heads"),
        ({"num_key_value_heads": 4}, r"k_proj\.weight has the shape \[32, 64\], but should have \[64, 64\]"),
        ({"intermediate_size": -1}, "intermediate_size is -1"),
        ({"max_position_embeddings": True}, "max_position_embeddings"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'; only \"silu\""),
        ({"attention_bias": True}, "attention_bias"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "rope_scaling: rope_type is 'yarn'"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "low_freq_factor is missing"),
        ({"rope_scaling": 5}, "rope_scaling is 5"),
        ({"rope_theta": 1e300}, "rope_theta"),
        ({"head_dim": 100}, "multiple of 16"),
        ({"tie_word_embeddings": False}, r"the tensor lm_head\.weight is missing"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
    ],
)
def test_a_configuration_that_does_not_fit(folder, changes, problem):
    change(folder, "config.json", **changes)
    refused(folder, problem)


class Harm:
    """A pickle that would run a program."""

    def __reduce__(self):
        return pytest.fail, ("a pickle was loaded",)


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", pickle.dumps(Harm()), b"\xff" * 99, b"\x08" + bytes(7) + b"{}      "]
)
def test_what_is_called_safetensors_and_is_something_else(folder, content):
    (folder / "model.safetensors").write_bytes(content)
    refused(
        folder, r"model\.safetensors: not a whole safetensors file|the tensor model\.embed_tokens\.weight is missing"
    )


def test_a_pickle_is_never_loaded(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Harm()))
    refused(folder, r"a pickle \(pytorch_model\.bin\), which may hold a program and is never loaded")


def header(**entries):
    encoded = json.dumps(entries).encode()
    return struct.pack("<Q", len(encoded)) + encoded


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<Q", 2**60) + b"{}",
        header(a={"dtype": "F32", "shape": [2**60], "data_offsets": [0, 2**62]}),
        header(a={"dtype": "F32", "shape": [2**31, 2**31], "data_offsets": [0, 4]}) + bytes(4),
        header(a={"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}),
        b"\x40" + bytes(7) + b"[" * 64,
    ],
)
def test_sizes_that_are_made_up(folder, content):
    (folder / "model.safetensors").write_bytes(content)
    refused(folder, "not a whole safetensors file")


def test_weights_of_another_type_and_values_that_are_no_numbers(folder):
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    tensors = load_file(path)
    name = "model.norm.weight"
    save_file({**tensors, name: torch.ones(64, dtype=torch.int8)}, path)
    refused(folder, f"{name} is of type int8")
    save_file({**tensors, name: torch.full((64,), torch.nan)}, path)
    refused(folder, f"{name} has values that are no numbers")
    save_file({**tensors, name: torch.ones(63)}, path)
    refused(folder, rf"{name} has the shape \[63\], but should have \[64\]")
    save_file({**tensors, name: torch.tensor(1.0)}, path)
    refused(folder, rf"{name} has the shape \[\]")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors", "chat_template.jinja"])
def test_a_link_out_of_the_folder_is_not_followed(folder, name):
    outside = folder.parent / "secret"
    outside.write_bytes((folder / name).read_bytes() if (folder / name).exists() else b"{}")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(outside)
    refused(folder, "a link out of the folder, which is not followed")


def test_the_links_of_the_hubs_cache_are_followed(folder, tmp_path):
    snapshot, blobs = tmp_path / "hub" / "snapshots" / "1", tmp_path / "hub" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for path in folder.iterdir():
        path.rename(blobs / path.name)
        (snapshot / path.name).symlink_to(f"../../blobs/{path.name}")
    assert import_model(snapshot, tmp_path / "run").is_chat


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd", "a/b.safetensors", "model.bin", 5])
def test_an_index_that_names_other_files(folder, name):
    write_json(folder / "model.safetensors.index.json", {"weight_map": {"model.norm.weight": name}})
    refused(folder, "weight_map")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"model": {"type": "WordPiece", "vocab": {}}}, "its model is no BPE"),
        ({"added_tokens": [5]}, "added_tokens"),
        ({"added_tokens": [{"id": 2**60, "content": "a"}]}, "tokenizer"),
        ({"added_tokens": [{"id": -5, "content": "a"}]}, "tokenizer"),
        ({"decoder": 5}, "tokenizer"),
        ({"decoder": None}, "tokenizer"),
        ({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated"}}, "tokenizer"),
    ],
)
def test_a_tokenizer_that_does_not_fit(folder, changes, problem):
    change(folder, "tokenizer.json", **changes)
    refused(folder, problem)


@pytest.mark.parametrize("content", [b"", b"[]", b"{" * 100_000, b"\xff\xfe", b'{"a": 1'])
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_what_is_no_json(folder, name, content):
    (folder / name).write_bytes(content)
    refused(folder, rf"{re.escape(name)}: not a JSON")


def test_more_tokens_than_rows(folder):
    values = json.loads(tokenizer_json())
    size = len(values["model"]["vocab"])
    values["added_tokens"].append({**values["added_tokens"][0], "id": size, "content": "<more>"})
    write_json(folder / "tokenizer.json", values)
    refused(folder, f"vocab_size: the weights have {size:,} rows, but the tokenizer {size + 1:,} tokens")


HARM = "{{ ''.__class__.__mro__[1].__subclasses__() }}"


@pytest.mark.parametrize(
    "template", [HARM, "{% for a in range(10**9) %}{% for b in range(10**9) %}x{% endfor %}{% endfor %}", "{{" * 10_000]
)
def test_a_template_with_a_program_is_not_run(folder, template, tmp_path):
    change(folder, "tokenizer_config.json", chat_template=f"<|im_start|><|im_end|>{template}")
    assert import_model(folder, tmp_path / "run").model.chat_format == "chatml"
    change(folder, "tokenizer_config.json", chat_template=template)
    assert import_model(folder, tmp_path / "other").model.chat_format == "roles"


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_file_that_is_missing(folder, name):
    (folder / name).unlink()
    refused(folder, r"no (config\.json|tokenizer\.json and no tokenizer\.model|model\.safetensors) in it")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"general.architecture": "falcon"}, "general.architecture is 'falcon'"),
        ({"llama.expert_count": 8}, "llama.expert_count is 8"),
        ({"llama.rope.dimension_count": 8}, "llama.rope.dimension_count is 8"),
        ({"llama.rope.scaling.type": "yarn"}, "llama.rope.scaling.type is 'yarn'"),
        ({"llama.block_count": 200}, "is missing"),
        ({"tokenizer.ggml.pre": "other"}, "tokenizer.ggml.pre is 'other'"),
        ({"tokenizer.ggml.model": "rwkv"}, "tokenizer.ggml.model is 'rwkv'"),
        ({"general.alignment": 0}, "general.alignment"),
    ],
)
def test_a_gguf_file_that_does_not_fit(gguf_file, changes, problem, monkeypatch):
    from tinylm.importing import gguf_model
    from tinylm.importing.gguf_file import GgufFile

    if "general.alignment" in changes:
        content = gguf_file.read_bytes()
        key = b"general.license"
        assert content.count(key) == 1
        where = content.index(key) - 8
        entry = struct.pack("<Q", 17) + b"general.alignment" + struct.pack("<II", 4, 0)
        counts = struct.unpack("<QQ", content[8:24])
        content = (
            content[:8] + struct.pack("<QQ", counts[0], counts[1] + 1) + content[24:where] + entry + content[where:]
        )
        gguf_file.write_bytes(content)
    else:

        class Changed(GgufFile):
            def __init__(self, path):
                super().__init__(path)
                self.metadata.update(changes)

        monkeypatch.setattr(gguf_model, "GgufFile", Changed)
    refused(gguf_file, problem)


def test_a_gguf_file_that_ends_too_early_or_has_made_up_counts(gguf_file):
    content = gguf_file.read_bytes()
    for size in (0, 3, 4, 10, 24, 100, len(content) // 2, len(content) - 1):
        gguf_file.write_bytes(content[:size])
        refused(gguf_file, "not a whole GGUF file|neither a Hugging Face folder nor a GGUF file")
    for place in (8, 16, 24):  # tensors, keys, and the length of the first key
        gguf_file.write_bytes(content[:place] + struct.pack("<Q", 2**60) + content[place + 8 :])
        refused(gguf_file, "not a whole GGUF file")
    gguf_file.write_bytes(pickle.dumps(Harm()))
    refused(gguf_file, "neither a Hugging Face folder nor a GGUF file")


def test_a_type_that_cannot_be_read(random_model, tmp_path):
    path = write_gguf(tmp_path / "model.gguf", random_model(**SHAPE), kind="Q5_0")
    refused(path, r"is of type Q5_0; F32, F16, BF16, Q8_0")


def mutate(draw, content):
    """Bytes with some changes: flipped, cut out, repeated, or a number that is far too large."""
    for _ in range(draw.choice((1, 1, 2, 5))):
        start = draw.randrange(len(content) + 1)
        stop = min(len(content), start + draw.choice((1, 4, 8, 300)))
        replacement = draw.choice(
            (
                bytes(draw.randrange(256) for _ in range(stop - start)),
                b"",
                content[start:stop] * 3,
                struct.pack("<Q", draw.choice((0, 2**31, 2**60, 2**64 - 1))),
                draw.choice((b"null", b"-1", b'"', b"[[[[", b"{", b"1e999", b"\\ud800", b"\0")),
            )
        )
        content = content[:start] + replacement + content[stop:]
    return content


def test_mutated_models_are_imported_or_refused_in_one_line(folder, gguf_file, tmp_path):
    sources = [*(folder / name for name in ("config.json", "tokenizer.json", "tokenizer_config.json")), gguf_file]
    sources += [folder / "model.safetensors"]
    contents = {path: path.read_bytes() for path in sources}
    lines: list[str] = []
    for number in range(MUTATIONS):
        draw = random.Random(number)
        path = sources[number % len(sources)]
        content = contents[path]
        if path.suffix in (".gguf", ".safetensors"):  # most of it is weights, which may be anything
            size = draw.choice((200, 2_000, 20_000))
            content = mutate(draw, content[:size]) + content[size:]
        else:
            content = mutate(draw, content)
        path.write_bytes(content)
        out = tmp_path / f"run{number}"
        refusals = len(lines)
        try:
            import_model(gguf_file if path == gguf_file else folder, out)
        except TinyLMError as error:
            lines.append(str(error))
        assert out.exists() == (len(lines) == refusals), number
        path.write_bytes(contents[path])
    assert not any("\n" in line for line in lines)
    assert MUTATIONS // 20 < len(lines) < MUTATIONS * 19 // 20
