"""What the graph's choices give: `python benchmarks/graph.py`; shape S, random weights, one thread.

Compared side by side, interleaved, medians: int8 over fp32 in decode and in prefill, the size of the file, and the
cost of deriving lengths from `attention_mask` in the graph, over being handed them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from bare import BareLoop, RuntimeLoop, decode_path
from graphs import random_model, write_graphs
from loops import METRICS, Loop, Metric
from onnx import TensorProto, helper
from shapes import SHAPES

from tinylm.config import ModelConfig
from tinylm.runtime.ort import onnxruntime

CONFIG = SHAPES["S"].config
METRIC = {metric.name: metric for metric in METRICS}


class ConstantMask(BareLoop):
    """One mask bound once, which leaves the graph's own work on it."""

    def __init__(self, path: Path, config: ModelConfig, threads: int) -> None:
        super().__init__(path, config, threads)
        self._bind_mask(self._decode_binding, METRIC["decode"].context + METRIC["decode"].tokens // 2)

    def _show_length(self, length: int) -> None:
        pass


class LengthsAsInputs(BareLoop):
    """For `with_lengths_as_inputs`."""

    def __init__(self, path: Path, config: ModelConfig, threads: int, decode: Path) -> None:
        super().__init__(path, config, threads, decode)
        self._last, self._total = np.zeros(1, np.int32), np.zeros(1, np.int32)
        self._lengths = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in (self._last, self._total)]
        for name, value in zip(("seqlens_k", "total_sequence_length"), self._lengths, strict=True):
            self._decode_binding.bind_ortvalue_input(name, value)

    def _show_length(self, length: int) -> None:
        self._last[0], self._total[0] = length - 1, length


def with_lengths_as_inputs(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph of decoding, told the lengths as `seqlens_k` and `total_sequence_length` instead of by a mask."""
    changed = onnx.ModelProto()
    changed.CopyFrom(graph)
    derived = {"seqlens_k", "total_sequence_length", "total"}
    nodes = [node for node in changed.graph.node if node.output[0] not in derived]
    inputs = [value for value in changed.graph.input if value.name != "attention_mask"]
    inputs.append(helper.make_tensor_value_info("seqlens_k", TensorProto.INT32, [1]))
    inputs.append(helper.make_tensor_value_info("total_sequence_length", TensorProto.INT32, [1]))
    del changed.graph.node[:], changed.graph.input[:]
    changed.graph.node.append(helper.make_node("Cast", ["total_sequence_length"], ["total"], to=TensorProto.INT64))
    changed.graph.node.extend(nodes)
    changed.graph.input.extend(inputs)
    return changed


def seconds_of(loops: Mapping[str, Loop], metric: Metric, repeats: int) -> dict[str, float]:
    """Median seconds of each loop, run in turns."""
    times: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(repeats):
        for name, loop in loops.items():
            times[name].append(loop.seconds(metric))
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    """Measure, print a table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=40)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as parent:
        folders = {precision: Path(parent) / precision for precision in ("fp32", "int8")}
        for precision, folder in folders.items():
            write_graphs(folder, random_model(CONFIG), precision)
        sizes = {name: sum(file.stat().st_size for file in folder.iterdir()) for name, folder in folders.items()}
        decode = decode_path(folders["int8"])
        assert decode is not None
        lengths = folders["int8"] / "lengths.onnx"
        graph = onnx.load(decode, load_external_data=False)
        lengths.write_bytes(with_lengths_as_inputs(graph).SerializeToString())
        loops = {
            "fp32": BareLoop(folders["fp32"], CONFIG, threads=1),
            "int8": BareLoop(folders["int8"], CONFIG, threads=1),
            "int8, constant mask": ConstantMask(folders["int8"], CONFIG, threads=1),
            "int8, lengths as inputs": LengthsAsInputs(folders["int8"], CONFIG, threads=1, decode=lengths),
        }
        runtimes = {name: RuntimeLoop(folder, CONFIG, threads=1) for name, folder in folders.items()}
        decoded = seconds_of(loops, METRIC["decode"], repeats)
        prefilled = seconds_of(runtimes, METRIC["prefill"], repeats)

    print(f"{'graph':<26}{'decode tokens/s':>17}{'prefill tokens/s':>18}{'file MB':>10}")
    for name in decoded:
        size = f"{sizes[name] / 1e6:.2f}" if name in sizes else ""
        speed = f"{METRIC['prefill'].tokens / prefilled[name]:,.0f}" if name in prefilled else ""
        print(f"{name:<26}{METRIC['decode'].tokens / decoded[name]:>17,.0f}{speed:>18}{size:>10}")
    ratios = {
        "int8_over_fp32_decode": decoded["fp32"] / decoded["int8"],
        "int8_over_fp32_prefill": prefilled["fp32"] / prefilled["int8"],
        "int8_over_fp32_size": sizes["int8"] / sizes["fp32"],
        "mask_in_graph_over_lengths_time": decoded["int8, constant mask"] / decoded["int8, lengths as inputs"],
        "mask_over_lengths_time": decoded["int8"] / decoded["int8, lengths as inputs"],
    }
    print(json.dumps({"ratios": {name: round(ratio, 4) for name, ratio in ratios.items()}}))


if __name__ == "__main__":
    main()
