"""Files for onnxruntime-genai: its configuration, and the tokenizer in Hugging Face's JSON format.

There are two tokenizer files. `tokenizer.json` is for Hugging Face's `tokenizers` and gives the ids of our tokenizer
for any text. onnxruntime-genai has its own reader, which knows a space only as U+2581; `genai/tokenizer.json` is for
it. Neither holds control symbols, so that no text can become one: a program places them by id.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from tinylm.config import ModelConfig
from tinylm.manifest import MODEL_FILE, SamplingDefaults
from tinylm.runtime.session import PREFILL_CHUNK, default_threads
from tinylm.tokenizer import Tokenizer

GENAI_CONFIG_FILE = "genai_config.json"
HF_TOKENIZER_FILE = "tokenizer.json"
GENAI_TOKENIZER_FOLDER = "genai"

_SPACE_MARK = "\u2581"


def genai_files(
    config: ModelConfig, tokenizer: Tokenizer, sampling: SamplingDefaults, model_bytes: int, growing_cache: bool = False
) -> dict[str, bytes]:
    """Create the files with which onnxruntime-genai runs a bundle.

    Args:
        config: the model's shape.
        tokenizer: of the bundle.
        sampling: the bundle's defaults.
        model_bytes: size of `model.onnx`.
        growing_cache: whether the graph returns a longer cache each time, as a portable one does.

    Returns:
        contents by path, relative to the bundle.
    """
    files = {
        GENAI_CONFIG_FILE: _genai_config(config, tokenizer, sampling, default_threads(model_bytes), growing_cache),
        HF_TOKENIZER_FILE: hf_tokenizer(tokenizer),
        f"{GENAI_TOKENIZER_FOLDER}/tokenizer.json": genai_tokenizer(tokenizer),
        f"{GENAI_TOKENIZER_FOLDER}/tokenizer_config.json": {
            "tokenizer_class": "LlamaTokenizer",
            "add_bos_token": False,
            "add_eos_token": False,
            "clean_up_tokenization_spaces": False,
        },
    }
    return {name: json.dumps(values, ensure_ascii=False).encode("utf-8") + b"\n" for name, values in files.items()}


def hf_tokenizer(tokenizer: Tokenizer) -> dict[str, Any]:
    """Create `tokenizer.json` for `tokenizers`: encoding and decoding equal our tokenizer's."""
    return _tokenizer_json(tokenizer, space=" ", pre_tokenizer=None, decoders=[])


def genai_tokenizer(tokenizer: Tokenizer) -> dict[str, Any]:
    """Create the file for onnxruntime-genai, which detects a SentencePiece model by the decoder's `Replace`."""
    return _tokenizer_json(
        tokenizer,
        space=_SPACE_MARK,
        # Without a pre-tokenizer, it splits words by its own regular expression
        pre_tokenizer={"type": "Split", "pattern": {"String": "\0"}, "behavior": "Isolated", "invert": False},
        decoders=[{"type": "Replace", "pattern": {"String": _SPACE_MARK}, "content": " "}],
    )


def _tokenizer_json(
    tokenizer: Tokenizer, space: str, pre_tokenizer: dict[str, Any] | None, decoders: list[dict[str, Any]]
) -> dict[str, Any]:
    control = tokenizer.control
    byte_pieces = {f"<0x{byte:02X}>" for byte in range(256)}
    pieces = {piece: id_ for id_, piece in enumerate(tokenizer.pieces()) if id_ not in control}
    learned = {piece: id_ for piece, id_ in pieces.items() if piece not in byte_pieces}
    # SentencePiece merges the neighbours whose piece has the lowest id
    merges = [last_merge(piece, learned) for piece in sorted(learned, key=learned.__getitem__) if len(piece) > 1]
    return {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": [*decoders, {"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {
            "type": "BPE",
            "unk_token": None,
            "fuse_unk": False,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {piece.replace(_SPACE_MARK, space): id_ for piece, id_ in pieces.items()},
            "merges": [[part.replace(_SPACE_MARK, space) for part in pair] for pair in merges if pair],
        },
    }


def last_merge(piece: str, ids: dict[str, int]) -> tuple[str, str] | None:
    """The last merge that makes a piece: its two parts, or None if merging never makes the piece.

    Merges inside a piece are the same wherever it occurs, as no merge across its ends comes first. So a piece is always
    made from the same two parts, and the ranks of pairs in Hugging Face's BPE give the same result as SentencePiece's
    scores of pieces.
    """
    parts = list(piece)
    while len(parts) > 2:
        possible = [(ids[left + right], at) for at, (left, right) in enumerate(pairwise(parts)) if left + right in ids]
        if not possible:
            return None
        _, at = min(possible)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts[0], parts[1]


def _genai_config(
    config: ModelConfig, tokenizer: Tokenizer, sampling: SamplingDefaults, threads: int, growing_cache: bool
) -> dict[str, Any]:
    return {
        "model": {
            # A decoder with token ids and attention mask as its only inputs
            "type": "decoder",
            "context_length": config.context_length,
            "vocab_size": config.vocab_size,
            "bos_token_id": tokenizer.bos_id,
            # A control symbol ends a reply as <eos> does
            "eos_token_id": [tokenizer.eos_id, *tokenizer.never_sampled],
            "pad_token_id": tokenizer.eos_id,
            "tokenizer_dir": GENAI_TOKENIZER_FOLDER,
            "decoder": {
                "filename": MODEL_FILE,
                "session_options": {
                    "intra_op_num_threads": threads,
                    "enable_mem_pattern": False,
                    "session.intra_op.allow_spinning": "0",
                    "provider_options": [],
                },
                "hidden_size": config.d_model,
                "head_size": config.head_dim,
                "num_attention_heads": config.nhead,
                "num_key_value_heads": config.kv_heads,
                "num_hidden_layers": config.num_layers,
                "inputs": {
                    "input_ids": "input_ids",
                    "attention_mask": "attention_mask",
                    "past_key_names": "past_key_values.%d.key",
                    "past_value_names": "past_key_values.%d.value",
                },
                "outputs": {
                    "logits": "logits",
                    "present_key_names": "present.%d.key",
                    "present_value_names": "present.%d.value",
                },
            },
        },
        "search": {
            "max_length": config.context_length,
            "past_present_share_buffer": not growing_cache,
            "chunk_size": PREFILL_CHUNK,
            "do_sample": True,
            "temperature": sampling.temperature,
            "top_k": sampling.top_k,
            "top_p": sampling.top_p,
        },
    }
