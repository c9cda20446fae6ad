"""TinyLM's two loops: the bare one, over onnxruntime's IO binding alone, and the runtime's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from loops import Loop

from tinylm.config import ModelConfig
from tinylm.manifest import DECODE_FILES, MODEL_FILE
from tinylm.runtime.ort import onnxruntime
from tinylm.runtime.session import Session, decode_file, load_onnx


def decode_path(folder: Path) -> Path | None:
    """The graph that the runtime takes for single tokens on this CPU, if the folder has one besides `model.onnx`."""
    name = decode_file({cpu: name for cpu, name in DECODE_FILES.items() if (folder / name).exists()})
    return folder / name if name else None


class BareLoop(Loop):
    """The least Python around onnxruntime: no sampling, no list of tokens, no checks.

    Args:
        path: a folder with the graphs of a model, their cache in place.
        config: its shape.
        threads: of onnxruntime.
        decode: the graph for single tokens; by default the one that the runtime takes.
        load: makes onnxruntime's session of a graph, with a number of threads.
    """

    def __init__(
        self,
        path: Path,
        config: ModelConfig,
        threads: int,
        decode: Path | None = None,
        load: Callable[[Path, int], onnxruntime.InferenceSession] = load_onnx,
    ) -> None:
        self.vocab_size = config.vocab_size
        decode = decode or decode_path(path)
        self._prefill_session = load(path / MODEL_FILE, threads)
        self._decode_session = load(decode, threads) if decode else self._prefill_session
        self._length = 0
        self._ones = np.ones((1, config.context_length), np.int64)
        self._token = np.zeros((1, 1), np.int64)
        self._token_value = onnxruntime.OrtValue.ortvalue_from_numpy(self._token)
        # Any token before the new ones: it is the time that counts
        self._previous = onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros((1, 1), np.int64))
        self.logits = np.zeros((1, 1, config.vocab_size), np.float32)
        self._logits_value = onnxruntime.OrtValue.ortvalue_from_numpy(self.logits)
        shape = (1, config.kv_heads, config.context_length, config.head_dim)
        names = [f"{number}.{part}" for number in range(config.num_layers) for part in ("key", "value")]
        self._cache = {name: onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(shape, np.float32)) for name in names}
        self._prefill_binding = self._bind(self._prefill_session)
        self._decode_binding = self._bind(self._decode_session)
        self._decode_binding.bind_ortvalue_input("input_ids", self._token_value)

    def keep(self, length: int) -> None:
        """See `Loop`."""
        self._length = length

    def prefill(self, ids: Sequence[int]) -> None:
        """See `Loop`."""
        tokens = onnxruntime.OrtValue.ortvalue_from_numpy(np.array([ids], np.int64))
        self._prefill_binding.bind_ortvalue_input("input_ids", tokens)
        self._length += len(ids)
        self._bind_mask(self._prefill_binding, self._length)
        self._prefill_session.run_with_iobinding(self._prefill_binding)

    def decode(self, ids: Sequence[int]) -> None:
        """See `Loop`."""
        for token in ids:
            self._token[0, 0] = token
            self._length += 1
            self._show_length(self._length)
            self._decode_session.run_with_iobinding(self._decode_binding)

    def _bind(self, session: onnxruntime.InferenceSession) -> onnxruntime.IOBinding:
        binding = session.io_binding()
        binding.bind_ortvalue_output("logits", self._logits_value)
        if any(value.name == "previous_ids" for value in session.get_inputs()):
            binding.bind_ortvalue_input("previous_ids", self._previous)
        for name, cache in self._cache.items():
            binding.bind_ortvalue_input(f"past_key_values.{name}", cache)
            binding.bind_ortvalue_output(f"present.{name}", cache)
        return binding

    def _bind_mask(self, binding: onnxruntime.IOBinding, length: int) -> None:
        mask = onnxruntime.OrtValue.ortvalue_from_numpy(self._ones[:, :length])
        binding.bind_ortvalue_input("attention_mask", mask)

    def _show_length(self, length: int) -> None:
        """Tell the graph of decoding how many tokens there are with the new one."""
        self._bind_mask(self._decode_binding, length)


class RuntimeLoop(Loop):
    """The same through `tinylm.runtime`, which prefills in chunks.

    Args:
        path: a folder with the graphs of a model.
        config: its shape.
        threads: of onnxruntime.
    """

    def __init__(self, path: Path, config: ModelConfig, threads: int) -> None:
        self.vocab_size = config.vocab_size
        self._session = Session(path / MODEL_FILE, config, threads, decode_path(path))

    def keep(self, length: int) -> None:
        """See `Loop`."""
        self._session.truncate(length)

    def prefill(self, ids: Sequence[int]) -> None:
        """See `Loop`."""
        self._session.append(ids)

    def decode(self, ids: Sequence[int]) -> None:
        """See `Loop`."""
        for token in ids:
            self._session.append([token])
