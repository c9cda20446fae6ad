"""Export a run as a GGUF file, for llama.cpp and the programs built on it, such as Ollama.

The file holds model, tokenizer and chat template. llama.cpp knows the architectures as llama, qwen2 and qwen3. Its
llama rotates neighbouring channels, so that the rows of queries and keys are stored in another order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import sentencepiece
import torch
from numpy.typing import NDArray

from tinylm.config import ModelConfig, StrPath
from tinylm.errors import TinyLMError
from tinylm.export.builder import as_array
from tinylm.export.chat_template import chat_template
from tinylm.export.huggingface import huggingface_family, huggingface_tensors
from tinylm.export.source import load_source
from tinylm.files import new_file
from tinylm.installation import install_command
from tinylm.run_folder import CheckpointName
from tinylm.tokenizer import Tokenizer
from tinylm.tokenizer.byte_level_bpe import ByteLevelTokenizer
from tinylm.training.model import LanguageModel, position_frequencies, rotary_frequencies

if TYPE_CHECKING:
    import gguf

_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
# How llama.cpp splits text into words before byte-level BPE, by the pattern in tokenizer.json
_WORDS = {
    "llama-bpe": r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|",
    "qwen2": r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|",
}
_QUANTIZED_BLOCK = 32  # weights of a row with one scale in Q8_0


def export_gguf(
    run: StrPath,
    file: StrPath,
    *,
    quantize: bool = False,
    checkpoint: CheckpointName = "best",
    context_length: int = 0,
    overwrite: bool = False,
) -> Path:
    """Export a run as a GGUF file.

    Args:
        run: the run folder: a path, or what `train` returned.
        file: the file, to be made.
        quantize: matrices in Q8_0 instead of F16.
        checkpoint: `"best"` or `"last"`.
        context_length: tokens of context, at most the model's; 0: the model's.
        overwrite: replace an existing file.

    Returns:
        the file.

    Raises:
        ConfigError: the model has no such context.
        RunError: the run is incomplete.
        TinyLMError: the architecture is not llama, or the file exists or cannot be written.
    """
    package = _import_gguf()
    path = Path(file)
    if path.is_dir() or (path.exists() and not overwrite):
        raise TinyLMError(f"{path}: exists already; give another --gguf, or --overwrite to replace it")
    source = load_source(run, checkpoint, context_length)
    model, tokenizer = source.model, source.tokenizer
    family = huggingface_family(model.config)
    with new_file(path) as temporary:
        writer = package.GGUFWriter(temporary, family)
        _add_shape(writer, model.config, path.stem, quantize)
        _add_tokenizer(writer, tokenizer)
        writer.add_chat_template(chat_template(tokenizer))
        _add_tensors(writer, model, quantize)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return path


def _import_gguf() -> Any:
    try:
        import gguf
    except ImportError:
        raise TinyLMError(f"--gguf needs the package gguf: {install_command('import')}") from None
    return gguf


def _add_shape(writer: gguf.GGUFWriter, config: ModelConfig, name: str, quantize: bool) -> None:
    from gguf import LlamaFileType, RopeScalingType

    writer.add_type("model")
    writer.add_name(name)
    writer.add_file_type(LlamaFileType.MOSTLY_Q8_0 if quantize else LlamaFileType.MOSTLY_F16)
    writer.add_quantization_version(2)
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.context_length)
    writer.add_embedding_length(config.d_model)
    writer.add_block_count(config.num_layers)
    writer.add_feed_forward_length(config.dim_feedforward)
    writer.add_head_count(config.nhead)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_base)
    if config.rope_scaling == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(config.rope_factor)
    writer.add_layer_norm_rms_eps(config.norm_epsilon)


def _add_tensors(writer: gguf.GGUFWriter, model: LanguageModel, quantize: bool) -> None:
    from gguf import GGMLQuantizationType, quants

    for name, tensor in _tensors(model):
        if tensor.ndim < 2:
            writer.add_tensor(name, tensor)
        elif quantize and tensor.shape[-1] % _QUANTIZED_BLOCK == 0:
            kind = GGMLQuantizationType.Q8_0
            writer.add_tensor(name, quants.quantize(tensor, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, tensor.astype(np.float16))


def _tensors(model: LanguageModel) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The tensors by llama.cpp's names."""
    config = model.config
    interleaved = huggingface_family(config) == "llama"
    for name, tensor in huggingface_tensors(model).items():
        module, _, kind = name.rpartition(".")
        layer, inside = "", module
        if module.startswith("model.layers."):
            _, _, number, inside = module.split(".", 3)
            layer = f"blk.{number}."
        array = as_array(tensor)
        if interleaved and inside in {"self_attn.q_proj", "self_attn.k_proj"}:
            array = _interleave(array, config.head_dim)
        yield f"{layer}{_NAMES[inside]}.{kind}", array
    if config.rope_scaling == "llama3":
        # Divisors of the frequencies
        plain = position_frequencies(config.head_dim, config.rope_base)
        yield "rope_freqs.weight", as_array(plain / rotary_frequencies(config).to(torch.float64))


def _interleave(matrix: NDArray[np.float32], head_dim: int) -> NDArray[np.float32]:
    """Reorder the rows of each head, so that the two of a rotated pair are neighbours."""
    rows, columns = matrix.shape
    pairs = matrix.reshape(rows // head_dim, 2, head_dim // 2, columns)
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(rows, columns)


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    if isinstance(tokenizer, ByteLevelTokenizer):
        _add_byte_level(writer, tokenizer)
    else:
        _add_sentencepiece(writer, tokenizer)
    writer.add_bos_token_id(tokenizer.bos_id)
    writer.add_eos_token_id(tokenizer.ends[0])
    writer.add_add_eos_token(False)


def _add_sentencepiece(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    from gguf import TokenType

    processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.serialized())
    types = []
    for id_ in range(tokenizer.vocab_size):
        if processor.is_unknown(id_):
            types.append(TokenType.UNKNOWN)
        elif id_ in tokenizer.control:
            types.append(TokenType.CONTROL)
        else:
            types.append(TokenType.BYTE if processor.is_byte(id_) else TokenType.NORMAL)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokenizer.pieces())
    writer.add_token_scores([processor.get_score(id_) for id_ in range(tokenizer.vocab_size)])
    writer.add_token_types(types)
    writer.add_unk_token_id(processor.unk_id())
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(bool(tokenizer.chat_format.text_prefix))


def _add_byte_level(writer: gguf.GGUFWriter, tokenizer: ByteLevelTokenizer) -> None:
    from gguf import TokenType

    values = json.loads(tokenizer.serialized())
    added = {token["id"]: token for token in values["added_tokens"]}
    tokens = {id_: piece for piece, id_ in values["model"]["vocab"].items()}
    tokens |= {id_: token["content"] for id_, token in added.items()}
    types = []
    for id_ in range(tokenizer.vocab_size):
        if id_ not in tokens:
            types.append(TokenType.UNUSED)
        elif id_ not in added:
            types.append(TokenType.NORMAL)
        else:
            types.append(TokenType.CONTROL if added[id_]["special"] else TokenType.USER_DEFINED)
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in values["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_word_splitting(values))
    writer.add_token_list([tokens.get(id_, f"[PAD{id_}]") for id_ in range(tokenizer.vocab_size)])
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_add_bos_token(tokenizer.chat_format.opening[:1] == [tokenizer.bos_id])


def _word_splitting(values: dict[str, Any]) -> str:
    """llama.cpp's name of the way in which a `tokenizer.json` splits text into words.

    Raises:
        TinyLMError: it is none of those known here.
    """
    first = values.get("pre_tokenizer") or {}
    steps = first.get("pretokenizers", [first])
    patterns = [step["pattern"].get("Regex", "") for step in steps if step.get("type") == "Split"]
    for name, part in _WORDS.items():
        if any(part in pattern for pattern in patterns):
            return name
    if not patterns and steps[-1].get("type") == "ByteLevel":
        return "smollm" if any(step.get("type") == "Digits" for step in steps) else "gpt-2"
    raise TinyLMError("--gguf: llama.cpp has no known name for the way in which this tokenizer splits words")
