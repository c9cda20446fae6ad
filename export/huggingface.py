"""The model in Hugging Face's form: `config.json` and tensors of Llama, Qwen2 or Qwen3."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tinylm.config import ModelConfig
from tinylm.errors import TinyLMError
from tinylm.training.model import Block, LanguageModel


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
