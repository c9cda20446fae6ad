"""Build an ONNX graph node by node."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper

OPSET = 23
MICROSOFT = "com.microsoft"
"""The domain of onnxruntime's own operators."""

_SMALLEST_OUTSIDE = 1024  # bytes
_PAGE = 4096


class GraphBuilder:
    """Collects the nodes and constants of a graph; its methods return names of values.

    Args:
        data: a new file for the larger constants, which the graph then refers to; None: the graph holds them.
    """

    def __init__(self, data: Path | None = None) -> None:
        self._data = data
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
        if name not in self.constants:
            is_inside = self._data is None or array.nbytes < _SMALLEST_OUTSIDE
            self.constants[name] = numpy_helper.from_array(array, name) if is_inside else self._outside(array, name)
        return name

    def _outside(self, array: NDArray[Any], name: str) -> onnx.TensorProto:
        assert self._data is not None
        with self._data.open("ab") as file:
            file.write(bytes(-file.tell() % _PAGE))
            offset = file.tell()
            file.write(np.ascontiguousarray(array).data)
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        return refer(
            onnx.TensorProto(name=name, data_type=kind, dims=array.shape), self._data.name, offset, array.nbytes
        )

    def integer(self, value: int) -> str:
        """Add a constant int64 [1], the form of axes, starts and ends."""
        return self.constant(f"integer/{value}", np.array([value], np.int64))

    def reshape(self, value: str, shape: Sequence[int], name: str) -> str:
        """Add a Reshape node; 0 keeps a dimension, -1 is inferred."""
        constant = self.constant(f"shape/{'x'.join(map(str, shape))}", np.array(shape, np.int64))
        return self.op("Reshape", [value, constant], name)


def refer(tensor: onnx.TensorProto, file: str, offset: int, size: int) -> onnx.TensorProto:
    """Make a tensor a reference to bytes of another file in the graph's folder, and return it."""
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", file), ("offset", offset), ("length", size)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def as_array(tensor: torch.Tensor) -> NDArray[np.float32]:
    """Convert a parameter to an fp32 array."""
    array: NDArray[np.float32] = tensor.detach().cpu().float().numpy()
    return array
