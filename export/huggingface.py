"""Export a run as a folder for Hugging Face's transformers and other programs that read it: Llama, Qwen2 or Qwen3."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from tinylm.config import ModelConfig, StrPath
from tinylm.errors import TinyLMError
from tinylm.export.chat_template import chat_template
from tinylm.export.genai import hf_tokenizer
from tinylm.export.source import ExportSource, load_source
from tinylm.files import new_folder
from tinylm.manifest import SamplingDefaults
from tinylm.run_folder import CheckpointName
from tinylm.tokenizer import Tokenizer
from tinylm.tokenizer.byte_level_bpe import ByteLevelTokenizer
from tinylm.training.model import Block, LanguageModel

_CONFIG_FILE = "config.json"
_CARD = """---
library_name: transformers
pipeline_tag: text-generation
---

# A small {kind} model

{family} with {parameters:,} parameters, made with TinyLM. Its data and their licence are for you to name here.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("FOLDER")
tokenizer = AutoTokenizer.from_pretrained("FOLDER")
{example}
print(tokenizer.decode(model.generate(**inputs)[0], skip_special_tokens=True))
```

It knows little beyond its data, and can be wrong while it sounds certain.
"""
_CHAT_EXAMPLE = """messages = [{"role": "user", "content": "Hello!"}]
inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)"""
_TEXT_EXAMPLE = 'inputs = tokenizer("Once upon a time", return_tensors="pt")'


def export_huggingface(
    run: StrPath,
    folder: StrPath,
    *,
    checkpoint: CheckpointName = "best",
    context_length: int = 0,
    overwrite: bool = False,
) -> Path:
    """Export a run as a folder that `AutoModelForCausalLM` and `AutoTokenizer` load.

    Args:
        run: the run folder: a path, or what `train` returned.
        folder: the folder, to be made.
        checkpoint: `"best"` or `"last"`.
        context_length: tokens of context, at most the model's; 0: the model's.
        overwrite: replace an existing folder of this kind.

    Returns:
        the folder.

    Raises:
        ConfigError: the model has no such context.
        RunError: the run is incomplete.
        TinyLMError: the architecture is not llama, or the folder exists or cannot be written.
    """
    path = Path(folder)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        if not overwrite:
            raise TinyLMError(f"{path}: exists already; give another --huggingface, or --overwrite to replace it")
        if not (path / _CONFIG_FILE).is_file():
            raise TinyLMError(f"{path}: exists and has no {_CONFIG_FILE}, so it is not replaced; give another folder")
    source = load_source(run, checkpoint, context_length)
    files = _small_files(source)
    tensors = huggingface_tensors(source.model)
    with new_folder(path) as temporary:
        for name, content in files.items():
            (temporary / name).write_bytes(content)
        save_file(tensors, temporary / "model.safetensors", {"format": "pt"})
    return path


def _small_files(source: ExportSource) -> dict[str, bytes]:
    """All files but the weights."""
    model, tokenizer = source.model, source.tokenizer
    ends = {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.ends[0]}
    sampling = SamplingDefaults()
    is_chat = source.state.stage == "finetune"
    values: dict[str, dict[str, Any]] = {
        _CONFIG_FILE: {**huggingface_config(model.config), **ends},
        "generation_config.json": {
            **ends,
            "eos_token_id": tokenizer.ends,
            "do_sample": True,
            "temperature": sampling.temperature,
            "top_k": sampling.top_k,
            "top_p": sampling.top_p,
            "max_new_tokens": sampling.max_new_tokens,
            "suppress_tokens": tokenizer.never_sampled,
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": tokenizer.piece_of(tokenizer.bos_id),
            "eos_token": tokenizer.piece_of(tokenizer.ends[0]),
            "model_max_length": model.config.context_length,
            "clean_up_tokenization_spaces": False,
            "chat_template": chat_template(tokenizer),
        },
    }
    if not isinstance(tokenizer, ByteLevelTokenizer):
        values["tokenizer.json"] = _with_control_symbols(tokenizer)
    card = _CARD.format(
        kind="chat" if is_chat else "language",
        family=huggingface_family(model.config).capitalize(),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        example=_CHAT_EXAMPLE if is_chat else _TEXT_EXAMPLE,
    )
    return {
        tokenizer.file_name: tokenizer.serialized(),
        "README.md": card.encode("utf-8"),
        **{name: json.dumps(value, indent=1, ensure_ascii=False).encode("utf-8") for name, value in values.items()},
    }


def _with_control_symbols(tokenizer: Tokenizer) -> dict[str, Any]:
    """Create `tokenizer.json` with control symbols, which transformers finds in text: chat templates are text."""
    values = hf_tokenizer(tokenizer)
    bos = tokenizer.piece_of(tokenizer.bos_id)
    control = {tokenizer.piece_of(id_): id_ for id_ in sorted(tokenizer.control)}
    values["model"]["vocab"] |= control
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    markers = tokenizer.chat_format.markers
    values["added_tokens"] = [
        {"id": id_, "content": piece, **flags} for piece, id_ in control.items() if id_ in markers
    ]
    opening: list[dict[str, Any]] = [
        {"SpecialToken": {"id": bos, "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
    ]
    values["post_processor"] = {
        "type": "TemplateProcessing",
        "single": opening,
        "pair": [*opening, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {bos: {"id": bos, "ids": [tokenizer.bos_id], "tokens": [bos]}},
    }
    return values


def huggingface_family(config: ModelConfig) -> str:
    """The `model_type` that has this model's options: llama, qwen2 (biases) or qwen3 (QK-norm).

    Raises:
        TinyLMError: the architecture is none of these.
    """
    if config.arch != "llama":
        raise TinyLMError(
            f'arch = "{config.arch}" is TinyLM\'s own and unknown to llama.cpp and transformers; a model trained with '
            "--set model.arch=llama can be exported for them"
        )
    return "qwen2" if config.qkv_bias else "qwen3" if config.qk_norm else "llama"


def huggingface_config(config: ModelConfig) -> dict[str, Any]:
    """Create the model's part of `config.json`.

    Raises:
        TinyLMError: see `huggingface_family`.
    """
    family = huggingface_family(config)
    return {
        "architectures": [f"{family.capitalize()}ForCausalLM"],
        "model_type": family,
        "vocab_size": config.vocab_size,
        "hidden_size": config.d_model,
        "intermediate_size": config.dim_feedforward,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.nhead,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": config.context_length,
        "rms_norm_eps": config.norm_epsilon,
        "rope_theta": config.rope_base,
        "rope_scaling": _rope_scaling(config),
        "tie_word_embeddings": config.tie_embeddings,
        # Of queries, keys, values and the output, as Qwen2's are not
        "attention_bias": False,
        "mlp_bias": False,
        "use_sliding_window": False,
        "torch_dtype": "float32",
    }


def huggingface_tensors(model: LanguageModel) -> dict[str, Tensor]:
    """Name and split the parameters as Hugging Face does; see the table in `tinylm.training.model`."""
    config = model.config
    tensors = {
        "model.embed_tokens.weight": model.embedding.weight,
        "model.norm.weight": model.norm.get_parameter("weight"),
    }
    if not config.tie_embeddings:
        tensors["lm_head.weight"] = model.output.weight
    sizes = [heads * config.head_dim for heads in (config.nhead, config.kv_heads, config.kv_heads)]
    for number, block in enumerate(model.blocks):
        assert isinstance(block, Block)
        name, attention = f"model.layers.{number}", block.attention
        gate, up = block.feedforward.up.weight.chunk(2)
        tensors |= {
            f"{name}.input_layernorm.weight": block.attention_norm.get_parameter("weight"),
            f"{name}.self_attn.o_proj.weight": attention.output.weight,
            f"{name}.post_attention_layernorm.weight": block.feedforward_norm.get_parameter("weight"),
            f"{name}.mlp.gate_proj.weight": gate,
            f"{name}.mlp.up_proj.weight": up,
            f"{name}.mlp.down_proj.weight": block.feedforward.down.weight,
        }
        for kind, packed in attention.qkv.named_parameters():
            parts = zip("qkv", torch.split(packed, sizes), strict=True)
            tensors |= {f"{name}.self_attn.{part}_proj.{kind}": tensor for part, tensor in parts}
        if attention.query_norm is not None and attention.key_norm is not None:
            tensors[f"{name}.self_attn.q_norm.weight"] = attention.query_norm.weight
            tensors[f"{name}.self_attn.k_norm.weight"] = attention.key_norm.weight
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _rope_scaling(config: ModelConfig) -> dict[str, Any] | None:
    if config.rope_scaling == "none":
        return None
    scaling: dict[str, Any] = {"rope_type": config.rope_scaling, "factor": config.rope_factor}
    if config.rope_scaling == "llama3":
        scaling |= {
            "low_freq_factor": config.rope_low_freq_factor,
            "high_freq_factor": config.rope_high_freq_factor,
            "original_max_position_embeddings": config.rope_original_context or config.context_length,
        }
    return scaling
