"""Run a model on onnxruntime: token sequences with KV caches that are updated in place, on shared weights."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tinylm.config import ModelConfig
from tinylm.errors import BundleError, ContextFullError
from tinylm.manifest import ANY_CPU, DATA_SUFFIX, MAPPED_FILE, MODEL_FILE, X86, Manifest
from tinylm.printable import printable
from tinylm.processors import usable_threads
from tinylm.runtime.device.machine import has_avx2
from tinylm.runtime.device.memory import check_memory, explain_allocation, release_unused
from tinylm.runtime.mapped_file import MappedFile
from tinylm.runtime.ort import onnxruntime
from tinylm.runtime.private_copy import private_copy

PREFILL_CHUNK = 64
"""Maximum number of tokens that are prefilled in one call, so that other sequences can take turns."""

_BYTES_PER_THREAD = 16_000_000
_MAX_THREADS = 4


class Decoder(Protocol):
    """The interface of a model for generation; `Session` implements it for bundles."""

    context_length: int
    vocab_size: int

    @property
    def length(self) -> int:
        """Number of tokens in the cache."""
        ...

    @property
    def ids(self) -> Sequence[int]:
        """Token ids in the cache; other users of the model may have added them."""
        ...

    def append(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Add tokens; see `TokenSequence.append`."""
        ...

    def truncate(self, length: int) -> None:
        """Keep only the first `length` tokens."""
        ...


class LoadedModel:
    """Graphs and weights of a model, shared by any number of sequences.

    Several threads may use it at the same time, each with a sequence of its own.

    Args:
        path: the ONNX file.
        config: the model's shape.
        threads: CPU threads of one call; 0: `default_threads` for the size of the file.
        decode: another ONNX file with the same weights, for calls with one token.

    Raises:
        BundleError: onnxruntime cannot load the model.
    """

    def __init__(self, path: Path, config: ModelConfig, threads: int = 0, decode: Path | None = None) -> None:
        self.context_length = config.context_length
        self.vocab_size = config.vocab_size
        self.threads = threads or default_threads(model_bytes(path))
        self.folder = path.parent
        weights = weights_file(path)
        mapped = MappedFile(weights) if decode or weights != path else None
        # First, as it needs most memory while it is loaded
        decode_graph = load_onnx(decode, self.threads) if decode else None
        self.graph = load_onnx(path, self.threads)
        self.decode_graph = decode_graph or self.graph
        layers = [f"{number}.{part}" for number in range(config.num_layers) for part in ("key", "value")]
        self.cache_names = [(f"past_key_values.{layer}", f"present.{layer}") for layer in layers]
        shapes = {value.name: value.shape for value in self.graph.get_inputs()}
        self.shifts_tokens = "previous_ids" in shapes
        self.cache_grows = isinstance(shapes[self.cache_names[0][0]][2], str)
        self._cache_shape = (1, config.kv_heads, self.context_length, config.head_dim)
        self._ones = np.ones((1, self.context_length), np.int64)
        self._masks: dict[int, onnxruntime.OrtValue] = {}
        # Weights stay mapped, unless the only graph holds them
        self.mapped: MappedFile | None = mapped

    @property
    def cache_bytes(self) -> int:
        """Bytes of the KV cache of a sequence that fills the context, in fp32."""
        return 4 * len(self.cache_names) * math.prod(self._cache_shape)

    def new_cache(self) -> list[onnxruntime.OrtValue]:
        """Allocate a KV cache: fp32 [1, kv_heads, context_length or 0, head_dim] for each of `cache_names`."""
        batch, heads, length, width = self._cache_shape
        shape = (batch, heads, 0 if self.cache_grows else length, width)
        return [onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(shape, np.float32)) for _ in self.cache_names]

    def mask(self, length: int) -> onnxruntime.OrtValue:
        """The attention mask for so many tokens: ones. Kept, as creating one takes long beside a small model."""
        mask = self._masks.get(length)
        if mask is None:
            mask = self._masks[length] = onnxruntime.OrtValue.ortvalue_from_numpy(self._ones[:, :length])
        return mask


class TokenSequence:
    """A sequence of tokens with its KV cache.

    Args:
        model: the loaded model, which other sequences may share.
    """

    def __init__(self, model: LoadedModel) -> None:
        self.model = model
        self.context_length, self.vocab_size = model.context_length, model.vocab_size
        self._ids: list[int] = []
        self._token, self._previous = np.zeros((1, 1), np.int64), np.zeros((1, 1), np.int64)
        self._logits = np.zeros((1, 1, self.vocab_size), np.float32)
        self._cache = model.new_cache()
        token, logits = (onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in (self._token, self._logits))
        previous = onnxruntime.OrtValue.ortvalue_from_numpy(self._previous)
        self._prefill_binding = self._bind(model.graph, logits)
        self._decode_binding = self._bind(model.decode_graph, logits)
        self._decode_binding.bind_ortvalue_input("input_ids", token)
        if model.shifts_tokens:
            for binding in (self._prefill_binding, self._decode_binding):
                binding.bind_ortvalue_input("previous_ids", previous)

    @property
    def length(self) -> int:
        """Tokens in the cache."""
        return len(self._ids)

    @property
    def ids(self) -> Sequence[int]:
        """The tokens in the cache."""
        return self._ids

    def truncate(self, length: int) -> None:
        """Keep only the first `length` tokens."""
        if not 0 <= length <= self.length:
            raise ValueError(f"cannot keep {length} of {self.length} tokens")
        if self.model.cache_grows and length < self.length:
            self._cache = _first_tokens(self._cache, length)
        del self._ids[length:]

    def copy_start(self, other: TokenSequence, length: int) -> None:
        """Replace this sequence by the first `length` tokens of another one of the same model, which may be in use."""
        if not 0 <= length <= other.length:
            raise ValueError(f"cannot copy {length} of {other.length} tokens")
        if self.model.cache_grows:
            self._cache = _first_tokens(other._cache, length)
        else:
            for to, source in zip(self._cache, other._cache, strict=True):
                to.numpy()[:, :, :length] = source.numpy()[:, :, :length]
        self._ids = other._ids[:length]

    def append(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Add tokens to the sequence.

        Args:
            ids: token ids, at least one; they are processed in chunks of `PREFILL_CHUNK`.

        Returns:
            logits of the token after the last one, fp32 [vocab_size]; overwritten by the next call.

        Raises:
            ContextFullError: they do not fit into the context; nothing was added.
            BundleError: the weights were overwritten since they were loaded.
        """
        if not ids:
            raise ValueError("no tokens to append")
        if self.length + len(ids) > self.context_length:
            raise ContextFullError(
                f"{self.length + len(ids):,} tokens do not fit into the context of {self.context_length:,}"
            )
        for start in range(0, len(ids), PREFILL_CHUNK):
            self._run(ids[start : start + PREFILL_CHUNK])
        logits: NDArray[np.float32] = self._logits[0, 0]
        return logits

    def _bind(self, graph: onnxruntime.InferenceSession, logits: onnxruntime.OrtValue) -> onnxruntime.IOBinding:
        binding = graph.io_binding()
        binding.bind_ortvalue_output("logits", logits)
        if not self.model.cache_grows:
            # The same memory is input and output, so that attention appends in place
            for (past, present), value in zip(self.model.cache_names, self._cache, strict=True):
                binding.bind_ortvalue_input(past, value)
                binding.bind_ortvalue_output(present, value)
        return binding

    def _run(self, ids: Sequence[int]) -> None:
        model = self.model
        if model.mapped is not None:
            model.mapped.check()
        self._previous[0, 0] = self._ids[-1] if self._ids else ids[0]
        if len(ids) == 1:
            graph, binding = model.decode_graph, self._decode_binding
            self._token[0, 0] = ids[0]
        else:
            graph, binding = model.graph, self._prefill_binding
            tokens = np.array([ids], np.int64)
            binding.bind_ortvalue_input("input_ids", onnxruntime.OrtValue.ortvalue_from_numpy(tokens))
        binding.bind_ortvalue_input("attention_mask", model.mask(self.length + len(ids)))
        if model.cache_grows:
            # A portable graph: its output is the input of the next call
            for (past, present), value in zip(model.cache_names, self._cache, strict=True):
                binding.bind_ortvalue_input(past, value)
                binding.bind_output(present)
        try:
            graph.run_with_iobinding(binding)
        except Exception as error:
            explain_allocation(model.folder, error)
            raise
        if model.cache_grows:
            self._cache = binding.get_outputs()[1:]
        self._ids += ids


class Session(TokenSequence):
    """A loaded model with one sequence; `TokenSequence(session.model)` adds another one.

    Args:
        path: see `LoadedModel`, as for the other arguments.
        config: the model's shape.
        threads: CPU threads of one call.
        decode: another ONNX file, for calls with one token.

    Raises:
        BundleError: onnxruntime cannot load the model.
    """

    def __init__(self, path: Path, config: ModelConfig, threads: int = 0, decode: Path | None = None) -> None:
        super().__init__(LoadedModel(path, config, threads, decode))
        self.threads = self.model.threads


def _first_tokens(cache: Sequence[onnxruntime.OrtValue], length: int) -> list[onnxruntime.OrtValue]:
    """Copy the first `length` tokens of a growing cache."""
    kept = [np.ascontiguousarray(value.numpy()[:, :, :length]) for value in cache]
    return [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in kept]


def open_bundle(folder: Path, manifest: Manifest, threads: int = 0, private: bool = False) -> Session:
    """Load a bundle with the decoding graph for this CPU.

    Args:
        folder: the bundle.
        manifest: its manifest.
        threads: see `LoadedModel`.
        private: load a copy, as the bundle's files may be overwritten meanwhile; see `private_copy`.

    Raises:
        BundleError: onnxruntime cannot load the model, or there is too little memory for it.
    """
    check_memory(folder, manifest, has_avx2())
    name = decode_file(manifest.graph.decode)
    graph = manifest.graph.mapped or MODEL_FILE
    threads = threads or default_threads(manifest.model_bytes)
    with (
        private_copy(folder, manifest, {graph, *([name] if name else [])}) if private else nullcontext(folder) as files
    ):
        try:
            session = Session(files / graph, manifest.model, threads, files / name if name else None)
        except MemoryError as error:
            explain_allocation(folder, error)
            raise
        except BundleError as error:
            raise BundleError(str(error).replace(str(files), str(folder))) from None
    session.model.folder = folder
    if files != folder:
        session.model.mapped = None
    return session


def decode_file(files: Mapping[str, str]) -> str | None:
    """The decoding graph for this CPU among those of a manifest; None where there is none."""
    return (files.get(X86) if has_avx2() else None) or files.get(ANY_CPU)


def load_onnx(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """Load an ONNX file with options for small machines.

    Raises:
        BundleError: onnxruntime cannot load it.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Memory patterns are kept for each input shape, and the mask has another one for each token
    options.enable_mem_pattern = False
    options.log_severity_level = 4
    # Threads spin while they wait for each other, but not between calls: an idle chat must not use a core
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        with _utf8_path(path) as name:
            session = onnxruntime.InferenceSession(name, options, providers=["CPUExecutionProvider"])
            release_unused()
            return session
    except Exception as error:  # noqa: BLE001 - onnxruntime's exceptions have no common base
        explain_allocation(path.parent, error)
        first_line = str(error).splitlines()[0]
        raise BundleError(
            f"{path}: onnxruntime {onnxruntime.__version__} cannot load it ({first_line}); update onnxruntime, "
            "or copy the bundle again"
        ) from None


@contextmanager
def _utf8_path(path: Path) -> Iterator[str]:
    """A path of the file in UTF-8, which onnxruntime takes alone."""
    name = printable(path)
    if os.fsencode(path) == name.encode():
        yield name
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def weights_file(path: Path) -> Path:
    """The file that holds the weights of an ONNX file of a bundle."""
    if path.name == MAPPED_FILE:
        return path.with_name(MODEL_FILE)
    data = path.with_name(path.name + DATA_SUFFIX)
    return data if data.is_file() else path


def model_bytes(path: Path) -> int:
    """Size of an ONNX file and, if it has one, of the file with its weights."""
    return sum(file.stat().st_size for file in {path, weights_file(path)})


def default_threads(size: int) -> int:
    """Threads for a model file of this size: one for each 16 MB, at most four and at most `usable_threads()`."""
    return max(1, min(_MAX_THREADS, usable_threads(), -(-size // _BYTES_PER_THREAD)))
