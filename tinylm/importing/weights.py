"""From a model's tensors to a checkpoint, one tensor at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from math import prod
from typing import BinaryIO

import torch
from torch import Tensor

from tinylm.config import ModelConfig
from tinylm.errors import TinyLMError
from tinylm.importing.source import PretrainedModel
from tinylm.printable import printable
from tinylm.training.model import LanguageModel

EMBEDDING, OUTPUT = "model.embed_tokens.weight", "lm_head.weight"
_WHOLE = {"embedding.weight": [EMBEDDING], "norm.weight": ["model.norm.weight"], "output.weight": [OUTPUT]}
_OF_A_BLOCK = {
    "attention_norm.weight": ["input_layernorm.weight"],
    "attention.qkv.weight": ["self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"],
    "attention.qkv.bias": ["self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias"],
    "attention.query_norm.weight": ["self_attn.q_norm.weight"],
    "attention.key_norm.weight": ["self_attn.k_norm.weight"],
    "attention.output.weight": ["self_attn.o_proj.weight"],
    "feedforward_norm.weight": ["post_attention_layernorm.weight"],
    "feedforward.up.weight": ["mlp.gate_proj.weight", "mlp.up_proj.weight"],
    "feedforward.down.weight": ["mlp.down_proj.weight"],
}
_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)")
# Computed from the configuration, not learned
_IGNORED = re.compile(r"(?:.*\.)?rotary_emb\.inv_freq|rope_freqs\.weight")
_FP32_BYTES = 4
_VOCABULARY_PARAMETERS = ("embedding.weight", "output.weight")


def parts_of_parameter(name: str) -> list[str]:
    """Hugging Face's names of the tensors that a parameter is made of, in their order along dimension 0."""
    block = _BLOCK.fullmatch(name)
    if not block:
        return _WHOLE[name]
    return [f"model.layers.{block[1]}.{part}" for part in _OF_A_BLOCK[block[2]]]


def parameter_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Shapes of the model's parameters by name."""
    with torch.device("meta"):
        model = LanguageModel(config)
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


def check_names(source: PretrainedModel, config: ModelConfig) -> None:
    """Check that a model has all tensors of the architecture and no others.

    Raises:
        TinyLMError: names the first that is missing, or that has no place.
    """
    wanted = {part for name in parameter_shapes(config) for part in parts_of_parameter(name)}
    names = source.tensor_names()
    missing = sorted(wanted - names)
    if missing:
        raise TinyLMError(f"{printable(source.path)}: the tensor {missing[0]} is missing ({len(missing):,} in all)")
    # A tied output layer is the embedding
    odd = sorted(name for name in names - wanted - {OUTPUT} if not _IGNORED.fullmatch(name))
    if odd:
        raise TinyLMError(f"{printable(source.path)}: the tensor {printable(odd[0])[:80]} has no place in this model")


def write_weights(
    file: BinaryIO,
    source: PretrainedModel,
    config: ModelConfig,
    added_rows: int,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> None:
    """Write a model's weights as safetensors in fp32.

    Args:
        file: receives them.
        source: the model.
        config: its shape.
        added_rows: rows of the vocabulary that the model does not have: they become the mean of its rows.
        progress: receives the number of parameters written, and of all.

    Raises:
        TinyLMError: a tensor cannot be read, has another shape, or values that are no numbers.
    """
    shapes = parameter_shapes(config)
    header: dict[str, dict[str, object]] = {}
    offset = 0
    for name, shape in shapes.items():
        end = offset + _FP32_BYTES * prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    file.write(len(encoded).to_bytes(8, "little") + encoded)
    for done, (name, shape) in enumerate(shapes.items(), start=1):
        added = added_rows if name in _VOCABULARY_PARAMETERS else 0
        parts = parts_of_parameter(name)
        for part, rows in zip(parts, _rows_of_parts(config, name, shape[0] - added), strict=True):
            tensor = _checked(source, part, (rows, *shape[1:]), more_rows=name in _VOCABULARY_PARAMETERS)
            file.write(tensor.numpy().data)
            if added:
                file.write(tensor.mean(0, keepdim=True).repeat(added, 1).numpy().data)
        progress(done, len(shapes))


def _rows_of_parts(config: ModelConfig, name: str, rows: int) -> list[int]:
    """Rows of each tensor that a parameter is made of."""
    if ".qkv." in name:
        return [heads * config.head_dim for heads in (config.nhead, config.kv_heads, config.kv_heads)]
    parts = len(parts_of_parameter(name))
    return [rows // parts] * parts


def _checked(source: PretrainedModel, name: str, shape: tuple[int, ...], more_rows: bool) -> Tensor:
    """A tensor of a shape, or the first rows of one with more of them."""
    tensor = source.tensor(name)
    rows = tensor.shape[0] if tensor.dim() == len(shape) else 0
    fits = tensor.shape[1:] == shape[1:] and (rows >= shape[0] if more_rows else rows == shape[0])
    if not fits:
        found = list(tensor.shape)
        raise TinyLMError(f"{printable(source.path)}: {name} has the shape {found}, but should have {list(shape)}")
    if not tensor.isfinite().all():
        raise TinyLMError(f"{printable(source.path)}: {name} has values that are no numbers")
    return tensor[: shape[0]].contiguous()
