"""Build an ONNX graph node by node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper

OPSET = 23
MICROSOFT = "com.microsoft"
"""The domain of onnxruntime's own operators."""


class GraphBuilder:
    """Collects the nodes and constants of a graph; its methods return names of values."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def op(self, kind: str, inputs: Sequence[str], name: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output, called `name`."""
        return self.ops(kind, inputs, [name], domain, **attributes)[0]

    def ops(
        self, kind: str, inputs: Sequence[str], outputs: Sequence[str], domain: str = "", **attributes: Any
    ) -> Sequence[str]:
        """Add a node with several outputs; an output with an empty name is omitted."""
        name = next(output for output in outputs if output)
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=name, domain=domain, **attributes))
        return outputs

    def constant(self, name: str, value: NDArray[Any] | np.generic | float) -> str:
        """Add a constant unless it is there already; a Python float becomes fp32."""
        array = np.asarray(value, np.float32 if type(value) is float else None)
        self.constants.setdefault(name, numpy_helper.from_array(array, name))
        return name

    def integer(self, value: int) -> str:
        """Add a constant int64 [1], the form of axes, starts and ends."""
        return self.constant(f"integer/{value}", np.array([value], np.int64))

    def reshape(self, value: str, shape: Sequence[int], name: str) -> str:
        """Add a Reshape node; 0 keeps a dimension, -1 is inferred."""
        constant = self.constant(f"shape/{'x'.join(map(str, shape))}", np.array(shape, np.int64))
        return self.op("Reshape", [value, constant], name)


def as_array(tensor: torch.Tensor) -> NDArray[np.float32]:
    """Convert a parameter to an fp32 array."""
    array: NDArray[np.float32] = tensor.detach().cpu().float().numpy()
    return array
