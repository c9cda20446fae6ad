"""A model in a Hugging Face folder: config.json, safetensors, and tokenizer.json or tokenizer.model.

Nothing of it is run. Of its files only those of known names are read, which must lie in the folder itself, or be links
into the cache of Hugging Face's hub beside it.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from tinylm.errors import TinyLMError
from tinylm.importing.byte_level import ByteLevelVocabulary
from tinylm.importing.keys import ForeignKeys, read_json
from tinylm.importing.sentencepiece_vocabulary import SentencePieceVocabulary, sentencepiece_of_json
from tinylm.importing.source import ChatSettings, ImportedVocabulary, PretrainedModel
from tinylm.importing.weights import EMBEDDING, OUTPUT
from tinylm.printable import printable

CONFIG, INDEX, WEIGHTS = "config.json", "model.safetensors.index.json", "model.safetensors"
MODEL_TYPES = ("llama", "mistral", "qwen2", "qwen3")
LONGEST_CONTEXT = 65_536
_MOST_TEXT = 1 << 20
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_LICENSE = re.compile(r"\A---\s.*?^license:\s*[\"']?([\w.+-]{1,60})", re.DOTALL | re.MULTILINE)


class HuggingFaceModel(PretrainedModel):
    """A model in a folder.

    Raises:
        TinyLMError: a file is missing, cannot be read, or lies elsewhere.
    """

    form = "Hugging Face"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._config = ForeignKeys(CONFIG, read_json(self._file(CONFIG)))
        self._settings = ForeignKeys("tokenizer_config.json", self._read_if_there("tokenizer_config.json"))
        self._generation = ForeignKeys("generation_config.json", self._read_if_there("generation_config.json"))
        self.name = Path(path.resolve()).name
        self.license = self._find_license()
        self._places = self._find_tensors()

    def shape(self) -> dict[str, Any]:
        """Values of `ModelConfig` but `vocab_size`."""
        keys = self._config
        kind = keys.get("model_type")
        if kind not in MODEL_TYPES:
            raise keys.refuse("model_type", f"models of type {', '.join(MODEL_TYPES)} can be imported")
        keys.only("hidden_act", "silu")
        keys.only("attention_bias", *([False, True] if kind == "qwen2" else [False]))
        keys.only("mlp_bias", False)
        keys.only("use_sliding_window", False)
        keys.only("partial_rotary_factor", 1.0, 1)
        for key in ("quantization_config", "num_local_experts", "num_experts"):
            keys.only(key)
        width, heads = keys.integer("hidden_size", 16, 16_384), keys.integer("num_attention_heads", 1, 256)
        context = self._context(keys)
        return {
            "arch": "llama",
            "d_model": width,
            "nhead": heads,
            "num_kv_heads": keys.integer("num_key_value_heads", 1, heads, heads),
            "num_layers": keys.integer("num_hidden_layers", 1, 256),
            "dim_feedforward": keys.integer("intermediate_size", 16, 65_536),
            "context_length": context,
            "tie_embeddings": self._is_tied(keys),
            "head_size": self._head_size(keys, width, heads, 128 if kind == "qwen3" else None),
            "norm_epsilon": keys.number("rms_norm_eps", 1e-12, 1.0, 1e-6),
            "qkv_bias": kind == "qwen2",
            "qk_norm": kind == "qwen3",
            **rotary_values(keys),
        }

    def vocabulary(self) -> ImportedVocabulary:
        """The tokenizer: `tokenizer.json` where it is byte-level or the only one, else `tokenizer.model`."""
        fast, model = self.path / "tokenizer.json", self.path / "tokenizer.model"
        if fast.is_file():
            path = self._file(fast.name)
            values = read_json(path)
            try:
                if _is_byte_level(values):
                    return ByteLevelVocabulary(values)
                if not model.is_file():
                    return sentencepiece_of_json(values, path.read_bytes())
            except (KeyError, TypeError, AttributeError, ValueError):
                raise TinyLMError(f"{printable(path)}: not a tokenizer of a known form") from None
            except TinyLMError as error:
                raise TinyLMError(f"{printable(path)}: {error}") from None
        if not model.is_file():
            raise TinyLMError(f"{printable(self.path)}: no tokenizer.json and no tokenizer.model in it")
        path = self._file(model.name)
        try:
            vocabulary = SentencePieceVocabulary(path.read_bytes())
            vocabulary.declare(self._declared_tokens())
        except TinyLMError as error:
            raise TinyLMError(f"{printable(path)}: {error}") from None
        return vocabulary

    def chat_settings(self) -> ChatSettings:
        """What its files say of conversations."""
        vocabulary = self.vocabulary()
        ends = [*self._generation.ids("eos_token_id"), *self._config.ids("eos_token_id")]
        named = {"bos": self._config.ids("bos_token_id"), "eos": [*self._config.ids("eos_token_id"), *ends]}
        for name, ids in named.items():
            symbol = self._symbol(vocabulary, f"{name}_token")
            ids[:0] = [] if symbol is None else [symbol]
        bos, eos = (next(iter(ids), None) for ids in named.values())
        return ChatSettings(bos, eos, [*ends, *named["eos"]], self._template())

    def tensor_names(self) -> set[str]:
        """Names of all tensors."""
        return set(self._places)

    def vocabulary_rows(self) -> int:
        """Rows of the embedding."""
        if EMBEDDING not in self._places:
            raise TinyLMError(f"{printable(self.path)}: the tensor {EMBEDDING} is missing")
        with safe_open(self._places[EMBEDDING], framework="pt") as file:
            shape: list[int] = file.get_slice(EMBEDDING).get_shape()
        return shape[0] if shape else 0

    def tensor(self, name: str) -> Tensor:
        """Read a tensor, in fp32."""
        path = self._places[name]
        try:
            with safe_open(path, framework="pt") as file:
                tensor: Tensor = file.get_tensor(name)
        except (SafetensorError, OSError, ValueError, RuntimeError) as error:
            raise TinyLMError(f"{printable(path)}: {name} cannot be read ({printable(str(error))})") from None
        if tensor.dtype not in _FLOATS:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise TinyLMError(f"{printable(path)}: {name} is of type {kind}; fp32, fp16 and bf16 can be imported")
        return tensor.float()

    def _file(self, name: str) -> Path:
        """A file of the folder.

        Raises:
            TinyLMError: it is not there, or a link that leads elsewhere.
        """
        path = self.path / name
        if not path.is_file():
            raise TinyLMError(f"{printable(self.path)}: not a model's folder (no {printable(name)} in it)")
        folder, place = self.path.resolve(), path.resolve()
        # In its cache, the hub's folders hold links to files two folders above
        blobs = folder.parent.parent / "blobs"
        if place.parent != folder and not (folder.parent.name == "snapshots" and place.parent == blobs):
            raise TinyLMError(f"{printable(path)}: a link out of the folder, which is not followed; copy the file")
        return path

    def _read_if_there(self, name: str) -> dict[str, Any]:
        return read_json(self._file(name)) if (self.path / name).exists() else {}

    def _find_tensors(self) -> dict[str, Path]:
        """The file of each tensor.

        Raises:
            TinyLMError: there are no safetensors, or they cannot be read.
        """
        if (self.path / INDEX).exists():
            listed = ForeignKeys(INDEX, read_json(self._file(INDEX))).get("weight_map")
            if not isinstance(listed, dict) or not all(isinstance(file, str) for file in listed.values()):
                raise TinyLMError(f"{printable(self.path / INDEX)}: no weight_map in it")
            names = sorted(set(listed.values()))
            odd = next((name for name in names if not re.fullmatch(r"[\w.-]+\.safetensors", name)), None)
            if odd is not None:
                raise TinyLMError(f"{printable(self.path / INDEX)}: weight_map names the file {printable(odd)[:80]}")
        elif (self.path / WEIGHTS).exists():
            names = [WEIGHTS]
        else:
            pickles = sorted(path.name for pattern in _PICKLES for path in self.path.glob(pattern))
            if pickles:
                problem = f"its weights are a pickle ({pickles[0]}), which may hold a program and is never loaded"
                raise TinyLMError(f"{printable(self.path)}: {problem}; get them as safetensors")
            raise TinyLMError(f"{printable(self.path)}: no {WEIGHTS} in it")
        places: dict[str, Path] = {}
        for name in names:
            path = self._file(name)
            try:
                with safe_open(path, framework="pt") as file:
                    places.update(dict.fromkeys(file.keys(), path))
            except (SafetensorError, OSError, ValueError, RuntimeError) as error:
                problem = printable(str(error))
                raise TinyLMError(f"{printable(path)}: not a whole safetensors file ({problem})") from None
            self.files.append(path)
        return places

    def _context(self, keys: ForeignKeys) -> int:
        context = keys.integer("max_position_embeddings", 16, 1 << 30)
        window = keys.get("sliding_window")
        if window is not None and keys.get("model_type") == "mistral":
            context = min(context, keys.integer("sliding_window", 16, 1 << 30))
        if context > LONGEST_CONTEXT:
            self.notes.append(f"its context of {context:,} tokens is cut to {LONGEST_CONTEXT:,}")
        return min(context, LONGEST_CONTEXT)

    def _is_tied(self, keys: ForeignKeys) -> bool:
        keys.only("tie_word_embeddings", True, False)
        tied = keys.get("tie_word_embeddings")
        return bool(tied) or (tied is None and EMBEDDING in self._places and OUTPUT not in self._places)

    def _head_size(self, keys: ForeignKeys, width: int, heads: int, default: int | None) -> int:
        size = keys.integer("head_dim", 1, 1024, default or max(1, width // heads))
        return 0 if size * heads == width else size

    def _symbol(self, vocabulary: ImportedVocabulary, key: str) -> int | None:
        """The id of a token that tokenizer_config.json names."""
        value = self._settings.get(key)
        piece = value.get("content") if isinstance(value, dict) else value
        return vocabulary.id_of(piece) if isinstance(piece, str) else None

    def _declared_tokens(self) -> dict[int, tuple[str, bool]]:
        """The added tokens that tokenizer_config.json and added_tokens.json name."""
        declared: dict[int, tuple[str, bool]] = {}
        for piece, id_ in self._read_if_there("added_tokens.json").items():
            if isinstance(id_, int):
                declared[id_] = piece, True
        decoder = self._settings.get("added_tokens_decoder")
        for id_, token in decoder.items() if isinstance(decoder, dict) else ():
            if id_.isascii() and id_.isdecimal() and isinstance(token, dict) and isinstance(token.get("content"), str):
                declared[int(id_[:10])] = token["content"], bool(token.get("special"))
        return declared

    def _template(self) -> str | None:
        """The chat template's source: a file of its own, or in tokenizer_config.json, by itself or in a list."""
        path = self.path / "chat_template.jinja"
        if path.exists():
            content = self._file(path.name).read_bytes()[:_MOST_TEXT]
            return content.decode("utf-8", "replace")
        template = self._settings.get("chat_template")
        if isinstance(template, list):
            named = {one.get("name"): one.get("template") for one in template if isinstance(one, dict)}
            template = named.get("default")
        return template if isinstance(template, str) else None

    def _find_license(self) -> str | None:
        with suppress(OSError, TinyLMError):
            found = _LICENSE.search(self._file("README.md").read_bytes()[:_MOST_TEXT].decode("utf-8", "replace"))
            return found[1] if found else None
        return None


def rotary_values(keys: ForeignKeys) -> dict[str, Any]:
    """The rotary positions of a configuration; transformers 5 has all of them in `rope_parameters`.

    Raises:
        TinyLMError: they are scaled in a way that is not known.
    """
    scaling = keys.inner("rope_parameters") or keys.inner("rope_scaling")
    holder = scaling if scaling is not None and "rope_theta" in scaling else keys
    values: dict[str, Any] = {"rope_base": holder.number("rope_theta", 1.0, 1e9, 10_000.0)}
    if scaling is None:
        return values
    key = "rope_type" if "rope_type" in scaling else "type"
    scaling.only(key, "default", "linear", "llama3")
    kind = scaling.get(key)
    if kind in (None, "default"):
        return values
    values |= {"rope_scaling": kind, "rope_factor": scaling.number("factor", 1.0, 1e6)}
    if kind == "llama3":
        values |= {
            "rope_low_freq_factor": scaling.number("low_freq_factor", 1e-6, 1e6),
            "rope_high_freq_factor": scaling.number("high_freq_factor", 1e-6, 1e6),
            "rope_original_context": scaling.integer("original_max_position_embeddings", 1, 1 << 30),
        }
    return values


def _is_byte_level(values: dict[str, Any]) -> bool:
    """Whether a `tokenizer.json` decodes bytes."""
    decoder = values.get("decoder") or {}
    steps = [decoder, *(decoder.get("decoders") or [])]
    return any(step.get("type") == "ByteLevel" for step in steps)
