"""Quantization of matrices: int8 with a scale for each column, 4 bits with a scale for each block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_HIGHEST_LEVEL = 127
_HIGHEST_PAIR = 128
"""Limit of the sum of two adjacent levels, for the kernels of x86 without VNNI.

They add the products of two adjacent levels with activations of up to 255 in 16 bits, with saturation: 255 * 128 =
32,640 does not saturate.
"""

BLOCK_SIZE = 32
"""Number of inputs with one scale in 4 bits."""


@dataclass(frozen=True)
class Int8Matrix:
    """A quantized matrix: value = level * scale of its column.

    Attributes:
        levels: int8 [inputs, outputs].
        scales: fp32 [outputs].
    """

    levels: NDArray[np.int8]
    scales: NDArray[np.float32]


def quantize_columns(matrix: NDArray[np.float32]) -> Int8Matrix:
    """Quantize a matrix [inputs, outputs] to int8 with a scale for each column."""
    scales = column_scales(matrix)
    levels = np.clip(np.rint(matrix / scales), -_HIGHEST_LEVEL, _HIGHEST_LEVEL)
    even = len(levels) // 2 * 2
    # The sum of two levels that were rounded up can exceed its limit by one
    neighbours = levels[0:even:2]
    levels[1:even:2] = np.clip(levels[1:even:2], -_HIGHEST_PAIR - neighbours, _HIGHEST_PAIR - neighbours)
    return Int8Matrix(levels.astype(np.int8), scales)


def quantize_blocks(matrix: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Quantize a matrix [outputs, inputs] to 4 bits with a scale for each `BLOCK_SIZE` inputs.

    Returns:
        levels: value + 8, two in a byte, the first in the lower half; uint8 [outputs, blocks, BLOCK_SIZE / 2].
        scales: fp32 [outputs * blocks].
    """
    outputs, inputs = matrix.shape
    blocks = -(-inputs // BLOCK_SIZE)
    padded = np.zeros((outputs, blocks * BLOCK_SIZE), np.float32)
    padded[:, :inputs] = matrix
    values = padded.reshape(outputs, blocks, BLOCK_SIZE)
    # Levels are -8 to 7: the value with the largest magnitude becomes -8
    furthest = np.take_along_axis(values, np.abs(values).argmax(axis=-1)[..., None], axis=-1)
    scales = np.where(furthest != 0, furthest / -8, 1).astype(np.float32)
    levels = np.clip(np.rint(values / scales) + 8, 0, 15).astype(np.uint8)
    return levels[..., 0::2] | levels[..., 1::2] << 4, scales.reshape(-1)


def column_scales(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute scales with which no level exceeds 127 and no sum of two adjacent levels 128: fp32 [outputs]."""
    highest = np.abs(matrix).max(axis=0) / _HIGHEST_LEVEL
    even = len(matrix) // 2 * 2
    if even:
        pairs = np.abs(matrix[0:even:2] + matrix[1:even:2]).max(axis=0)
        highest = np.maximum(highest, pairs / _HIGHEST_PAIR)
    return np.where(highest > 0, highest, 1).astype(np.float32)
