"""The ONNX files with which `tinylm doctor` measures the int8 kernels; `make kernel-probes` writes them anew.

A device has no onnx package, so the files are part of the package. Each is a chain of int8 matrices in one of the two
forms that decoding graphs of bundles have. The weights are nodes that onnxruntime computes and packs while it loads the
file, which is therefore small.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper

from tinylm.export.builder import MICROSOFT, GraphBuilder
from tinylm.files import write_file
from tinylm.runtime.device.kernel_probe import BLOCK, PROBES, Probe

_IR_VERSION, _OPSET = 10, 20


def probe_model(probe: Probe) -> onnx.ModelProto:
    """A model that multiplies x0, fp32 [1, width], by the matrices of a probe, one after the other."""
    builder = GraphBuilder()
    width, columns = probe.width, probe.width // BLOCK
    kind, shape, zero_point = TensorProto.INT8, [width, width], 0
    if probe.blocks:
        kind, shape, zero_point = TensorProto.UINT8, [width, columns, BLOCK], 128
    # Small enough that the values stay finite
    scale = _filled(builder, "scale", [width * columns if probe.blocks else width], TensorProto.FLOAT, 1 / (16 * width))
    value = "x0"
    for number in range(probe.matrices):
        # Different levels, or onnxruntime merges equal matrices
        weights = _filled(builder, f"w{number}", shape, kind, zero_point + 1 + number)
        if probe.blocks:
            sizes = {"K": width, "N": width, "bits": 8, "block_size": BLOCK, "accuracy_level": 4}
            value = builder.op("MatMulNBits", [value, weights, scale], f"x{number + 1}", MICROSOFT, **sizes)
        else:
            inputs = [value, weights, scale, builder.constant("zero", np.int8(zero_point))]
            value = builder.op("DynamicQuantizeMatMul", inputs, f"x{number + 1}", MICROSOFT)
    row = [1, width]
    graph = helper.make_graph(
        builder.nodes,
        "kernel probe",
        [helper.make_tensor_value_info("x0", TensorProto.FLOAT, row)],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, row)],
        list(builder.constants.values()),
    )
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, ir_version=_IR_VERSION, opset_imports=opsets, producer_name="tinylm")


def _filled(builder: GraphBuilder, name: str, shape: Sequence[int], kind: int, value: float) -> str:
    """A constant tensor of one value, as a node rather than as data."""
    constant = builder.constant(f"shape/{'x'.join(map(str, shape))}", np.array(shape, np.int64))
    return builder.op("ConstantOfShape", [constant], name, value=helper.make_tensor("value", kind, [1], [value]))


if __name__ == "__main__":
    for probe in PROBES:
        probe.path.parent.mkdir(exist_ok=True)
        write_file(probe.path, probe_model(probe).SerializeToString(deterministic=True))
