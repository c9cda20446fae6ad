"""A model in a GGUF file, as llama.cpp writes it for Llama, Mistral, Qwen2 and Qwen3."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tinylm.config import ModelConfig
from tinylm.errors import TinyLMError
from tinylm.importing.byte_level import byte_level_of_gguf
from tinylm.importing.gguf_file import READABLE_TYPES, GgufFile
from tinylm.importing.huggingface import LONGEST_CONTEXT
from tinylm.importing.keys import ForeignKeys
from tinylm.importing.sentencepiece_vocabulary import sentencepiece_of_gguf
from tinylm.importing.source import ChatSettings, ImportedVocabulary, PretrainedModel
from tinylm.printable import printable
from tinylm.training.model import rotary_frequencies

ARCHITECTURES = ("llama", "qwen2", "qwen3")
_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_NAMES_OF_A_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_BLOCK = re.compile(r"blk\.(\d{1,4})\.(\w+)\.(weight|bias)")
_ROPE_FACTORS = "rope_freqs.weight"
_NORMAL = 1


class GgufModel(PretrainedModel):
    """A model in a file.

    Raises:
        TinyLMError: it cannot be read.
    """

    form = "GGUF"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._file = GgufFile(path)
        self._keys = ForeignKeys(printable(path), self._file.metadata)
        self.name = self._keys.text("general.name") or path.stem
        self.license = self._keys.text("general.license")
        self.files = [path]
        arch = self._keys.get("general.architecture")
        if arch not in ARCHITECTURES:
            raise self._keys.refuse(
                "general.architecture", f"models of architecture {', '.join(ARCHITECTURES)} can be imported"
            )
        self._arch: str = arch
        self._stored = {_foreign_name(name): name for name in self._file.tensors}
        for name, place in self._file.tensors.items():
            if place.kind not in READABLE_TYPES:
                raise TinyLMError(
                    f"{printable(path)}: {printable(name)[:80]} is of type {place.kind}; {', '.join(READABLE_TYPES)} "
                    "can be imported"
                )

    def shape(self) -> dict[str, Any]:
        """Values of `ModelConfig` but `vocab_size`."""
        keys, arch = self._keys, self._arch
        for key in ("expert_count", "attention.sliding_window"):
            keys.only(f"{arch}.{key}", 0)
        width = keys.integer(f"{arch}.embedding_length", 16, 16_384)
        heads = keys.integer(f"{arch}.attention.head_count", 1, 256)
        context = keys.integer(f"{arch}.context_length", 16, 1 << 30)
        if context > LONGEST_CONTEXT:
            self.notes.append(f"its context of {context:,} tokens is cut to {LONGEST_CONTEXT:,}")
        head = keys.integer(f"{arch}.attention.key_length", 1, 1024, max(1, width // heads))
        keys.only(f"{arch}.attention.value_length", head)
        keys.only(f"{arch}.rope.dimension_count", head)
        return {
            "arch": "llama",
            "d_model": width,
            "nhead": heads,
            "num_kv_heads": keys.integer(f"{arch}.attention.head_count_kv", 1, heads, heads),
            "num_layers": keys.integer(f"{arch}.block_count", 1, 256),
            "dim_feedforward": keys.integer(f"{arch}.feed_forward_length", 16, 65_536),
            "context_length": min(context, LONGEST_CONTEXT),
            "tie_embeddings": "output.weight" not in self._file.tensors,
            "head_size": 0 if head * heads == width else head,
            "norm_epsilon": keys.number(f"{arch}.attention.layer_norm_rms_epsilon", 1e-12, 1.0),
            "qkv_bias": arch == "qwen2",
            "qk_norm": arch == "qwen3",
            **self._rotary_values(head),
        }

    def vocabulary(self) -> ImportedVocabulary:
        """The tokenizer, rebuilt from the file's lists."""
        keys = self._keys
        tokens = self._list("tokenizer.ggml.tokens", str)
        kinds = self._list("tokenizer.ggml.token_type", int) if "tokenizer.ggml.token_type" in keys else []
        kinds = kinds or [_NORMAL] * len(tokens)
        model = keys.get("tokenizer.ggml.model")
        if len(kinds) != len(tokens):
            raise TinyLMError(f"{keys.where}: tokenizer.ggml.token_type is not as long as tokenizer.ggml.tokens")
        try:
            if model == "gpt2":
                merges = self._list("tokenizer.ggml.merges", str)
                return byte_level_of_gguf(tokens, merges, kinds, keys.text("tokenizer.ggml.pre") or "")
            if model == "llama":
                scores = self._list("tokenizer.ggml.scores", float)
                if len(scores) != len(tokens):
                    raise TinyLMError("tokenizer.ggml.scores is not as long as tokenizer.ggml.tokens")
                prefix = keys.get("tokenizer.ggml.add_space_prefix") is not False
                return sentencepiece_of_gguf(tokens, scores, kinds, prefix)
        except TinyLMError as error:
            where = f"{keys.where}: "
            raise TinyLMError(where + str(error).removeprefix(where)) from None
        raise keys.refuse("tokenizer.ggml.model", "tokenizers of model gpt2 and llama can be imported")

    def chat_settings(self) -> ChatSettings:
        """What the file says of conversations."""
        keys = self._keys
        names = ("eos_token_id", "eot_token_id", "eom_token_id")
        ends = [id_ for name in names for id_ in keys.ids(f"tokenizer.ggml.{name}")]
        bos, eos = (next(iter(keys.ids(f"tokenizer.ggml.{name}_token_id")), None) for name in ("bos", "eos"))
        return ChatSettings(bos, eos, ends, keys.text("tokenizer.chat_template"))

    def tensor_names(self) -> set[str]:
        """Names of all tensors, as Hugging Face has them."""
        return set(self._stored)

    def vocabulary_rows(self) -> int:
        """Rows of the embedding."""
        place = self._file.tensors.get("token_embd.weight")
        if place is None:
            raise TinyLMError(f"{printable(self.path)}: the tensor token_embd.weight is missing")
        return place.shape[0]

    def tensor(self, name: str) -> Tensor:
        """Read a tensor of Hugging Face's name and layout, in fp32."""
        found = torch.from_numpy(self._file.read(self._stored[name]))
        heads = self._keys.integer(f"{self._arch}.attention.head_count", 1, 256)
        if ".q_proj." in name:
            return self._halves(found, heads)
        if ".k_proj." in name:
            return self._halves(found, self._keys.integer(f"{self._arch}.attention.head_count_kv", 1, heads, heads))
        return found

    def _halves(self, tensor: Tensor, heads: int) -> Tensor:
        """Undo llama.cpp's order of rows: in Llama's files it has the two channels of a rotated pair side by side."""
        rows = tensor.shape[0]
        if self._arch != "llama" or rows % (2 * heads):
            return tensor
        return tensor.reshape(heads, rows // heads // 2, 2, *tensor.shape[1:]).transpose(1, 2).reshape(tensor.shape)

    def _rotary_values(self, head: int) -> dict[str, Any]:
        keys, arch = self._keys, self._arch
        values: dict[str, Any] = {"rope_base": keys.number(f"{arch}.rope.freq_base", 1.0, 1e9, 10_000.0)}
        keys.only(f"{arch}.rope.scaling.type", "none", "linear")
        if keys.get(f"{arch}.rope.scaling.type") == "linear":
            factor = keys.number(f"{arch}.rope.scaling.factor", 1.0, 1e6)
            return values | {"rope_scaling": "linear", "rope_factor": factor}
        if _ROPE_FACTORS not in self._file.tensors:
            return values
        # llama.cpp has the factors of Llama 3.1's scaling in place of its settings, which are the same in all releases
        factors = torch.from_numpy(self._file.read(_ROPE_FACTORS)).flatten()
        values |= {
            "rope_scaling": "llama3",
            "rope_factor": float(factors.max()),
            "rope_low_freq_factor": 1.0,
            "rope_high_freq_factor": 4.0,
            "rope_original_context": 8192,
        }
        if (
            not 1 <= values["rope_factor"] <= 1e6
            or len(factors) != head // 2
            or not _are_factors(values, head, factors)
        ):
            raise TinyLMError(f"{keys.where}: {_ROPE_FACTORS} is no scaling of Llama 3.1's, which alone is known")
        return values

    def _list(self, key: str, kind: type) -> list[Any]:
        values = self._keys.get(key)
        if not isinstance(values, list) or not all(isinstance(value, kind) for value in values):
            raise TinyLMError(f"{self._keys.where}: {key} is missing, or not a list of {kind.__name__}")
        return values


def _foreign_name(name: str) -> str:
    """Hugging Face's name of a tensor; the name itself where it is unknown."""
    block = _BLOCK.fullmatch(name)
    if block and block[2] in _NAMES_OF_A_BLOCK:
        return f"model.layers.{int(block[1])}.{_NAMES_OF_A_BLOCK[block[2]]}.{block[3]}"
    stem, _, part = name.rpartition(".")
    return f"{_NAMES[stem]}.{part}" if stem in _NAMES else name


def _are_factors(values: dict[str, Any], head: int, factors: Tensor) -> bool:
    """Whether these values divide the rotary frequencies by the given factors."""
    shape = {"arch": "llama", "d_model": head, "nhead": 1, "rope_base": values["rope_base"]}
    plain, scaled = rotary_frequencies(ModelConfig(**shape)), rotary_frequencies(ModelConfig(**values | shape))
    return bool(torch.allclose(plain / scaled, factors, rtol=1e-3))
