"""What the graph's choices give: `python benchmarks/graph.py`; shape S, random weights, one thread.

Compared side by side, interleaved, medians: int8 over fp32 in decode and in prefill, the size of the file, and the
cost of deriving lengths from `attention_mask` in the graph, over being handed them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper

from tinylm.config import ModelConfig
from tinylm.export.graph import FloatWeights, Int8Weights, build_graph
from tinylm.model import LanguageModel
from tinylm.runtime.session import Session, load_onnx

SHAPE_S = ModelConfig(
    d_model=288, nhead=6, num_layers=6, dim_feedforward=1152, vocab_size=4096, context_length=1024, tie_embeddings=False
)
DECODED = 128
PREFILLED = 128


def with_lengths_as_inputs(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph, told the lengths as `seqlens_k` and `total_sequence_length` instead of by a mask."""
    changed = onnx.ModelProto()
    changed.CopyFrom(graph)
    derived = {"counts", "last_index", "seqlens_k", "total_sequence_length", "total"}
    nodes = [node for node in changed.graph.node if node.output[0] not in derived]
    inputs = [value for value in changed.graph.input if value.name != "attention_mask"]
    inputs.append(helper.make_tensor_value_info("seqlens_k", TensorProto.INT32, ["batch"]))
    inputs.append(helper.make_tensor_value_info("total_sequence_length", TensorProto.INT32, [1]))
    del changed.graph.node[:], changed.graph.input[:]
    changed.graph.node.append(helper.make_node("Cast", ["total_sequence_length"], ["total"], to=TensorProto.INT64))
    changed.graph.node.extend(nodes)
    changed.graph.input.extend(inputs)
    return changed


def bare_decoder(path: Path, config: ModelConfig, lengths: str = "mask") -> Callable[[], None]:
    """A bare loop over `DECODED` tokens.

    Args:
        path: the graph.
        config: its shape.
        lengths: mask, a growing mask handed over at each step; constant, one mask bound once, which leaves the graph's
            own work on it; inputs, the lengths themselves.
    """
    session = load_onnx(path, 1)
    binding = session.io_binding()
    kept = []

    def value_of(array: np.ndarray) -> onnxruntime.OrtValue:
        kept.append(onnxruntime.OrtValue.ortvalue_from_numpy(array))
        return kept[-1]

    for number in range(config.num_layers):
        for part in ("key", "value"):
            shape = (1, config.kv_heads, config.context_length, config.head_dim)
            cache = value_of(np.zeros(shape, np.float32))
            binding.bind_ortvalue_input(f"past_key_values.{number}.{part}", cache)
            binding.bind_ortvalue_output(f"present.{number}.{part}", cache)
    binding.bind_ortvalue_output("logits", value_of(np.zeros((1, 1, config.vocab_size), np.float32)))
    token_id, last, total = np.zeros((1, 1), np.int64), np.zeros(1, np.int32), np.zeros(1, np.int32)
    ones = np.ones((1, config.context_length), np.int64)
    binding.bind_ortvalue_input("input_ids", value_of(token_id))
    if lengths == "constant":
        binding.bind_ortvalue_input("attention_mask", value_of(ones[:, : DECODED // 2]))
    if lengths == "inputs":
        binding.bind_ortvalue_input("seqlens_k", value_of(last))
        binding.bind_ortvalue_input("total_sequence_length", value_of(total))

    def decode() -> None:
        for token in range(DECODED):
            token_id[0, 0] = token
            if lengths == "inputs":
                last[0], total[0] = token, token + 1
            elif lengths == "mask":
                mask = onnxruntime.OrtValue.ortvalue_from_numpy(ones[:, : token + 1])
                binding.bind_ortvalue_input("attention_mask", mask)
            session.run_with_iobinding(binding)

    return decode


def prefiller(session: Session) -> Callable[[], None]:
    """Prefills `PREFILLED` tokens."""

    def prefill() -> None:
        session.truncate(0)
        session.append(list(range(PREFILLED)))

    return prefill


def seconds_of(functions: dict[str, Callable[[], None]], repeats: int) -> dict[str, float]:
    """Median seconds of each function, run in turns."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            started = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - started)
    return {name: float(np.median(values)) for name, values in times.items()}


def main() -> None:
    """Measure, print a table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=40)
    repeats = parser.parse_args().repeats
    torch.manual_seed(0)
    model = LanguageModel(SHAPE_S).eval()
    graphs = {"fp32": build_graph(model, FloatWeights()), "int8": build_graph(model, Int8Weights())}
    graphs["int8, lengths as inputs"] = with_lengths_as_inputs(graphs["int8"])
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for name, graph in graphs.items():
            paths[name] = Path(folder) / f"{len(paths)}.onnx"
            paths[name].write_bytes(graph.SerializeToString())
        sizes = {name: path.stat().st_size for name, path in paths.items()}
        sessions = {name: Session(paths[name], SHAPE_S, threads=1) for name in ("fp32", "int8")}
        decode = seconds_of(
            {
                "fp32": bare_decoder(paths["fp32"], SHAPE_S),
                "int8": bare_decoder(paths["int8"], SHAPE_S),
                "int8, constant mask": bare_decoder(paths["int8"], SHAPE_S, "constant"),
                "int8, lengths as inputs": bare_decoder(paths["int8, lengths as inputs"], SHAPE_S, "inputs"),
            },
            repeats,
        )
        prefill = seconds_of({name: prefiller(session) for name, session in sessions.items()}, repeats)

    def size(name: str) -> str:
        return f"{sizes[name] / 1e6:.2f}" if name in sizes else ""

    print(f"{'graph':<26}{'decode tokens/s':>17}{'prefill tokens/s':>18}{'file MB':>10}")
    for name in decode:
        prefilled = f"{PREFILLED / prefill[name]:,.0f}" if name in prefill else ""
        print(f"{name:<26}{DECODED / decode[name]:>17,.0f}{prefilled:>18}{size(name):>10}")
    ratios = {
        "int8_over_fp32_decode": decode["fp32"] / decode["int8"],
        "int8_over_fp32_prefill": prefill["fp32"] / prefill["int8"],
        "int8_over_fp32_size": sizes["int8"] / sizes["fp32"],
        "mask_in_graph_over_lengths_time": decode["int8, constant mask"] / decode["int8, lengths as inputs"],
        "mask_over_lengths_time": decode["int8"] / decode["int8, lengths as inputs"],
    }
    print(json.dumps({"ratios": {name: round(ratio, 4) for name, ratio in ratios.items()}}))


if __name__ == "__main__":
    main()
