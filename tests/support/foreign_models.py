"""Pre-trained models as others write them, small and of random weights: Hugging Face folders and GGUF files."""

import json

import gguf
import numpy as np
from byte_level import tokenizer_json, vocabulary
from gguf import GGMLQuantizationType as Kind
from safetensors.torch import save_file

from tinylm.export.huggingface import huggingface_config, huggingface_tensors

SMOLLM2_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + "
    "message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SHAPE = {
    "arch": "llama",
    "vocab_size": len(vocabulary(tokenizer_json())),
    "d_model": 64,
    "nhead": 4,
    "num_kv_heads": 2,
    "num_layers": 2,
    "dim_feedforward": 256,
    "context_length": 128,
}
GGUF_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write_huggingface(folder, model, *, template=SMOLLM2_TEMPLATE, shards=1, tokenizer=None, dtype=None):
    """Write a model as a Hugging Face folder with a byte-level tokenizer."""
    folder.mkdir()
    tensors = {name: tensor.to(dtype or tensor.dtype) for name, tensor in huggingface_tensors(model).items()}
    if shards == 1:
        save_file(tensors, folder / "model.safetensors")
    else:
        names = sorted(tensors)
        files = [f"model-{part + 1:05}-of-{shards:05}.safetensors" for part in range(shards)]
        for part, file in enumerate(files):
            save_file({name: tensors[name] for name in names[part::shards]}, folder / file)
        weight_map = {name: files[place % shards] for place, name in enumerate(names)}
        write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})
    write_json(folder / "config.json", {**huggingface_config(model.config), "bos_token_id": 1, "eos_token_id": 2})
    (folder / "tokenizer.json").write_bytes(tokenizer or tokenizer_json())
    settings = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}
    write_json(folder / "tokenizer_config.json", settings | ({"chat_template": template} if template else {}))
    (folder / "README.md").write_text("---\nlanguage: en\nlicense: apache-2.0\n---\n# A model\n")
    return folder


def write_gguf(path, model, *, kind="F32", template=SMOLLM2_TEMPLATE, changes=None):
    """Write a model as a GGUF file, as llama.cpp's converter does."""
    config, arch = model.config, huggingface_config(model.config)["model_type"]
    writer = gguf.GGUFWriter(path, arch)
    writer.add_name("A model")
    writer.add_license("apache-2.0")
    writer.add_context_length(config.context_length)
    writer.add_embedding_length(config.d_model)
    writer.add_block_count(config.num_layers)
    writer.add_feed_forward_length(config.dim_feedforward)
    writer.add_head_count(config.nhead)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_key_length(config.head_dim)
    writer.add_rope_freq_base(config.rope_base)
    writer.add_layer_norm_rms_eps(config.norm_epsilon)
    _add_tokenizer(writer, template)
    for key, value in (changes or {}).items():
        writer.add_key_value(key, value, gguf.GGUFValueType.get_type(value))
    for name, tensor in huggingface_tensors(model).items():
        values = tensor.numpy()
        heads = {"q": config.nhead, "k": config.kv_heads}.get(name.rpartition("_proj.")[0][-1:])
        if heads and arch == "llama" and "self_attn" in name:
            pairs = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
            values = np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(values.shape))
        stored = Kind.F32 if values.ndim == 1 else Kind[kind]
        data = values if stored == Kind.F32 else gguf.quants.quantize(values, stored)
        writer.add_tensor(_gguf_name(name), data, raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer, template):
    values = json.loads(tokenizer_json())
    vocabulary = values["model"]["vocab"]
    special = {token["content"] for token in values["added_tokens"]}
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in special else 1 for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in values["model"]["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    if template:
        writer.add_chat_template(template)


def _gguf_name(name):
    whole = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    stem, _, part = name.rpartition(".")
    if stem in whole:
        return f"{whole[stem]}.{part}"
    _, _, number, inner = stem.split(".", 3)
    return f"blk.{number}.{GGUF_NAMES[inner]}.{part}"


def write_json(path, values):
    """Write a JSON file."""
    path.write_text(json.dumps(values), "utf-8")
