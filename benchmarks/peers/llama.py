"""llama.cpp through llama-cpp-python's low-level bindings."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

import llama_cpp
from loops import Loop

from tinylm.config import ModelConfig


@llama_cpp.llama_log_callback
def _no_log(level: int, text: bytes, user_data: ctypes.c_void_p) -> None:
    """llama.cpp tells a lot on stderr."""


class LlamaLoop(Loop):
    """The calls that llama-bench makes; every other option is llama.cpp's default.

    Args:
        path: a GGUF file.
        config: for the lengths of context and vocabulary.
        threads: for decode and for prefill.
        flash_attention: on (llama.cpp's own choice) or off.
    """

    def __init__(self, path: Path, config: ModelConfig, threads: int, flash_attention: bool = True) -> None:
        self.vocab_size = config.vocab_size
        llama_cpp.llama_log_set(_no_log, ctypes.c_void_p())
        llama_cpp.llama_backend_init()
        self._model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
        if not self._model:
            raise RuntimeError(f"{path}: llama.cpp cannot load it")
        options = llama_cpp.llama_context_default_params()
        options.n_ctx = config.context_length
        options.n_threads = options.n_threads_batch = threads
        options.flash_attn_type = int(flash_attention)
        self._context = llama_cpp.llama_init_from_model(self._model, options)
        self._memory = llama_cpp.llama_get_memory(self._context)

    def keep(self, length: int) -> None:
        """See `Loop`."""
        llama_cpp.llama_memory_seq_rm(self._memory, 0, length, -1)

    def prefill(self, ids: Sequence[int]) -> None:
        """See `Loop`."""
        tokens = (llama_cpp.llama_token * len(ids))(*ids)
        self._run(llama_cpp.llama_batch_get_one(tokens, len(ids)))

    def decode(self, ids: Sequence[int]) -> None:
        """See `Loop`."""
        token = (llama_cpp.llama_token * 1)()
        batch = llama_cpp.llama_batch_get_one(token, 1)
        for number in ids:
            token[0] = number
            self._run(batch)

    def _run(self, batch: llama_cpp.llama_batch) -> None:
        if llama_cpp.llama_decode(self._context, batch):
            raise RuntimeError("llama_decode failed")
        llama_cpp.llama_synchronize(self._context)
