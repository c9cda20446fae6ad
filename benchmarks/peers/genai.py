"""onnxruntime-genai on TinyLM's graphs; its loop samples (greedily) where the others stop at the logits."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

# onnxruntime-genai reads this while it is imported, and reports on its use without it
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime_genai  # noqa: TID251
from loops import Loop

from tinylm.config import ModelConfig
from tinylm.manifest import MODEL_FILE


class GenaiLoop(Loop):
    """onnxruntime-genai's generator.

    Args:
        path: a folder with the graphs of a model; only `model.onnx` is used.
        config: its shape.
        threads: of onnxruntime.
    """

    def __init__(self, path: Path, config: ModelConfig, threads: int) -> None:
        self.vocab_size = config.vocab_size
        with TemporaryDirectory() as folder:
            (Path(folder) / MODEL_FILE).symlink_to((path / MODEL_FILE).resolve())
            (Path(folder) / "genai_config.json").write_text(json.dumps(_configuration(config, threads)))
            self._model = onnxruntime_genai.Model(folder)
        options = onnxruntime_genai.GeneratorParams(self._model)
        options.set_search_options(max_length=config.context_length, min_length=config.context_length)
        self._generator = onnxruntime_genai.Generator(self._model, options)

    def keep(self, length: int) -> None:
        """See `Loop`."""
        self._generator.rewind_to(length)

    def prefill(self, ids: Sequence[int]) -> None:
        """See `Loop`."""
        self._generator.append_tokens(list(ids))

    def decode(self, ids: Sequence[int]) -> None:
        """See `Loop`; the tokens are those that it generates, as many as there are `ids`."""
        if self._generator.token_count() == 0:
            self._generator.append_tokens(list(ids[:1]))
        for _ in ids:
            self._generator.generate_next_token()


def _configuration(config: ModelConfig, threads: int) -> dict[str, object]:
    # Not by tinylm.export.genai: with it torch would come into the process whose memory is measured
    decoder = {
        "filename": MODEL_FILE,
        "head_size": config.head_dim,
        "hidden_size": config.d_model,
        "num_attention_heads": config.nhead,
        "num_key_value_heads": config.kv_heads,
        "num_hidden_layers": config.num_layers,
        "session_options": {"intra_op_num_threads": threads, "provider_options": []},
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
    }
    model = {
        "type": "decoder",
        "bos_token_id": 0,
        "eos_token_id": [],
        "pad_token_id": 0,
        "vocab_size": config.vocab_size,
        "context_length": config.context_length,
        "decoder": decoder,
    }
    search = {"do_sample": False, "max_length": config.context_length, "past_present_share_buffer": True}
    return {"model": model, "search": search}
