"""Decoding several sequences by turns, or in one call: which is faster, and whether a row depends on the others."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np

from tinylm.manifest import MODEL_FILE, read_manifest
from tinylm.processors import usable_cores
from tinylm.runtime.ort import onnxruntime
from tinylm.runtime.session import LoadedModel, TokenSequence, decode_file, load_onnx

_CONTEXT = 128
_STEPS = 48


def turns_tokens_per_second(bundle: Path, streams: int, workers: int) -> float:
    """Each sequence in calls of its own, shared among so many threads."""
    manifest = read_manifest(bundle)
    name = decode_file(manifest.graph.decode)
    model = LoadedModel(bundle / MODEL_FILE, manifest.model, 1, bundle / name if name else None)
    sequences = [TokenSequence(model) for _ in range(streams)]
    for number, sequence in enumerate(sequences):
        sequence.append([10 + number] * _CONTEXT)

    def work(mine: list[TokenSequence]) -> None:
        for step in range(_STEPS):
            for sequence in mine:
                sequence.append([20 + step])

    shares = [sequences[number::workers] for number in range(min(workers, streams))]
    threads = [threading.Thread(target=work, args=(share,)) for share in shares]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return streams * _STEPS / (time.perf_counter() - started)


class Batch:
    """Several sequences of equal length in one call of the graph for any number of tokens.

    Args:
        bundle: the folder.
        streams: rows.
        threads: of the call.
    """

    def __init__(self, bundle: Path, streams: int, threads: int) -> None:
        config = read_manifest(bundle).model
        self._session = load_onnx(bundle / MODEL_FILE, threads)
        self._binding = self._session.io_binding()
        shape = (streams, config.kv_heads, config.context_length, config.head_dim)
        for layer in range(config.num_layers):
            for part in ("key", "value"):
                value = onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(shape, np.float32))
                self._binding.bind_ortvalue_input(f"past_key_values.{layer}.{part}", value)
                self._binding.bind_ortvalue_output(f"present.{layer}.{part}", value)
        self.logits = np.zeros((streams, 1, config.vocab_size), np.float32)
        self._binding.bind_ortvalue_output("logits", onnxruntime.OrtValue.ortvalue_from_numpy(self.logits))
        self._shifts = any(value.name == "previous_ids" for value in self._session.get_inputs())
        self._length = 0

    def append(self, ids: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> None:
        """Add tokens [streams, length] to every sequence; the last one's logits are in `logits`."""
        self._length += ids.shape[1]
        mask = np.ones((len(ids), self._length), np.int64)
        self._binding.bind_ortvalue_input("input_ids", onnxruntime.OrtValue.ortvalue_from_numpy(ids))
        self._binding.bind_ortvalue_input("attention_mask", onnxruntime.OrtValue.ortvalue_from_numpy(mask))
        if self._shifts:
            previous = np.ascontiguousarray(ids[:, :1])
            self._binding.bind_ortvalue_input("previous_ids", onnxruntime.OrtValue.ortvalue_from_numpy(previous))
        self._session.run_with_iobinding(self._binding)


def batch_tokens_per_second(bundle: Path, streams: int, threads: int) -> float:
    """All sequences in each call."""
    batch = Batch(bundle, streams, threads)
    ids = np.arange(streams)[:, None] + np.full((1, _CONTEXT), 10)
    batch.append(ids)
    started = time.perf_counter()
    for step in range(_STEPS):
        batch.append(ids[:, :1] + step)
    return streams * _STEPS / (time.perf_counter() - started)


def rows_are_alone(bundle: Path, streams: int) -> bool:
    """Whether each row's logits in a batch are, bit for bit, those of a batch of its own."""
    together, ids = Batch(bundle, streams, 1), np.arange(streams)[:, None] + np.arange(_CONTEXT)
    together.append(ids)
    together.append(ids[:, :1])
    for row in range(streams):
        alone = Batch(bundle, 1, 1)
        alone.append(ids[row : row + 1])
        alone.append(ids[row : row + 1, :1])
        if not np.array_equal(alone.logits[0], together.logits[row]):
            return False
    return True


def compare(bundle: Path, streams: tuple[int, ...]) -> dict[str, float]:
    """Tokens a second of both ways, the best of three each, by turns."""
    cores = usable_cores()
    found: dict[str, float] = {}
    for count in streams:
        for _ in range(3):
            for name, speed in (
                ("turns", turns_tokens_per_second(bundle, count, cores)),
                ("batch", max(batch_tokens_per_second(bundle, count, threads) for threads in {1, cores})),
            ):
                key = f"{name}_tokens_per_second_{count}"
                found[key] = max(found.get(key, 0.0), speed)
        found[f"turns_over_batch_{count}"] = (
            found[f"turns_tokens_per_second_{count}"] / found[f"batch_tokens_per_second_{count}"]
        )
    found["batch_rows_bit_equal"] = float(rows_are_alone(bundle, max(streams)))
    return found
