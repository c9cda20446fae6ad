"""Models of random weights in llama.cpp's format."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import gguf
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from shapes import Shape


def write_gguf(path: Path, shape: Shape, precision: str) -> None:
    """A llama model of random weights, without a vocabulary.

    Args:
        path: the new file.
        shape: its size.
        precision: F32 or Q8_0, of all matrices; the norms are F32 either way, as llama.cpp quantizes.
    """
    config = shape.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.context_length)
    writer.add_embedding_length(config.d_model)
    writer.add_block_count(config.num_layers)
    writer.add_feed_forward_length(shape.llama_feedforward)
    writer.add_head_count(config.nhead)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("no_vocab")
    kind = gguf.GGMLQuantizationType[precision]
    for name, tensor in _random_tensors(shape):
        if tensor.ndim == 2:
            writer.add_tensor(name, gguf.quants.quantize(tensor, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _random_tensors(shape: Shape) -> Iterator[tuple[str, NDArray[np.float32]]]:
    generator = np.random.default_rng(0)
    config, width = shape.config, shape.config.d_model

    def matrix(rows: int, columns: int) -> NDArray[np.float32]:
        return generator.standard_normal((rows, columns), np.float32) / np.float32(np.sqrt(columns))

    norm = np.ones(width, np.float32)
    yield "token_embd.weight", matrix(config.vocab_size, width)
    for number in range(config.num_layers):
        yield f"blk.{number}.attn_norm.weight", norm
        for part in ("q", "k", "v", "output"):
            yield f"blk.{number}.attn_{part}.weight", matrix(width, width)
        yield f"blk.{number}.ffn_norm.weight", norm
        for part in ("gate", "up"):
            yield f"blk.{number}.ffn_{part}.weight", matrix(shape.llama_feedforward, width)
        yield f"blk.{number}.ffn_down.weight", matrix(width, shape.llama_feedforward)
    yield "output_norm.weight", norm
    yield "output.weight", matrix(config.vocab_size, width)
