"""Read a GGUF file: its header within bounds, and one tensor at a time.

Every count and length is compared with the size of the file before anything is read or made room for: gguf's own reader
runs through whatever a file says. Tensors are dequantized by gguf.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinylm.errors import TinyLMError
from tinylm.printable import printable

GGUF_MAGIC = b"GGUF"
READABLE_TYPES = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q4_K", "Q6_K")
_VERSIONS = (2, 3)
_MOST_DIMENSIONS = 4
_STRING, _ARRAY, _BOOL = 8, 9, 7
_NUMBERS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", _BOOL: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_MOST_KEYS = 65_536
_MOST_TENSORS = 65_536


class TensorPlace(NamedTuple):
    """Where a tensor is.

    Attributes:
        shape: rows first, as in torch.
        kind: name of its type, as Q4_K.
        offset: of its first byte in the file.
        size: in bytes.
    """

    shape: tuple[int, ...]
    kind: str
    offset: int
    size: int


class GgufFile:
    """An opened GGUF file.

    Args:
        path: the file.

    Attributes:
        metadata: values by key; an array is a list.
        tensors: places by name.

    Raises:
        TinyLMError: it cannot be read, or is no whole GGUF file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metadata: dict[str, Any] = {}
        self.tensors: dict[str, TensorPlace] = {}
        try:
            with path.open("rb") as file:
                _Header(file, path.stat().st_size).read_into(self)
        except OSError as error:
            raise TinyLMError(f"{printable(path)}: cannot be read ({error.strerror})") from None
        except (_BrokenError, UnicodeDecodeError, ValueError, struct.error) as error:
            raise TinyLMError(f"{printable(path)}: not a whole GGUF file ({printable(str(error))})") from None

    def read(self, name: str) -> NDArray[np.float32]:
        """Read a tensor, in fp32.

        Raises:
            TinyLMError: its type is none of `READABLE_TYPES`, or the file has become shorter.
        """
        from gguf.constants import GGMLQuantizationType
        from gguf.quants import dequantize

        place = self.tensors[name]
        with self.path.open("rb") as file:
            file.seek(place.offset)
            data = np.fromfile(file, np.uint8, place.size)
        if len(data) != place.size:
            raise TinyLMError(f"{printable(self.path)}: ends inside of {printable(name)}; get the file again")
        plain = {"F32": "<f4", "F16": "<f2"}.get(place.kind)
        if plain:
            return data.view(plain).astype(np.float32).reshape(place.shape)
        rows = data.reshape(*place.shape[:-1], -1)
        found: NDArray[np.float32] = dequantize(rows, GGMLQuantizationType[place.kind])
        return found.reshape(place.shape)


class _BrokenError(Exception):
    """What is wrong with the bytes."""


class _Header:
    """The header of a file, read from its beginning."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size

    def read_into(self, target: GgufFile) -> None:
        if self._bytes(4) != GGUF_MAGIC:
            raise _BrokenError("it does not begin with GGUF")
        version = self._number("<I")
        if version not in _VERSIONS:
            raise _BrokenError(f"version {version}; known are {_VERSIONS[0]} and {_VERSIONS[1]}, little-endian")
        tensors = self._count(_MOST_TENSORS, "tensors")
        keys = self._count(_MOST_KEYS, "keys")
        for _ in range(keys):
            key = self._string()
            if key in target.metadata:
                raise _BrokenError(f"the key {key[:80]} is there twice")
            target.metadata[key] = self._value(self._number("<I"))
        infos = [self._tensor() for _ in range(tensors)]
        alignment = target.metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or isinstance(alignment, bool) or not 1 <= alignment <= 1 << 20:
            raise _BrokenError("general.alignment is no alignment")
        start = -(-self._file.tell() // alignment) * alignment
        for name, place in infos:
            if name in target.tensors:
                raise _BrokenError(f"the tensor {name[:80]} is there twice")
            if start + place.offset + place.size > self._size:
                raise _BrokenError(f"it ends before the tensor {name[:80]}")
            target.tensors[name] = place._replace(offset=start + place.offset)

    def _tensor(self) -> tuple[str, TensorPlace]:
        name = self._string()
        dimensions = self._number("<I")
        if not 1 <= dimensions <= _MOST_DIMENSIONS:
            raise _BrokenError(f"{name[:80]} has {dimensions} dimensions")
        shape = tuple(self._number("<Q") for _ in range(dimensions))[::-1]
        code, offset = self._number("<I"), self._number("<Q")
        kind, block, block_bytes = _type_of(code)
        elements = math.prod(shape)
        if elements == 0 or shape[-1] % block:
            raise _BrokenError(f"{name[:80]} of type {kind} has the shape {list(shape)}")
        return name, TensorPlace(shape, kind, offset, elements // block * block_bytes)

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            return self._number(self._form(kind))
        inner, length = self._number("<I"), self._number("<Q")
        if inner == _STRING:
            self._check_room(8 * length)
            return [self._string() for _ in range(length)]
        form = self._form(inner)
        width = struct.calcsize(form)
        self._check_room(width * length)
        values: list[Any] = np.frombuffer(self._bytes(width * length), form.replace("?", "b")).tolist()
        return values

    def _form(self, kind: int) -> str:
        if kind not in _NUMBERS:
            raise _BrokenError(f"a value of the unknown type {kind}")
        return _NUMBERS[kind]

    def _string(self) -> str:
        return self._bytes(self._number("<Q")).decode("utf-8")

    def _count(self, most: int, name: str) -> int:
        count: int = self._number("<Q")
        if count > most:
            raise _BrokenError(f"{count:,} {name} are more than {most:,}")
        return count

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._bytes(struct.calcsize(form)))[0]

    def _bytes(self, length: int) -> bytes:
        self._check_room(length)
        return self._file.read(length)

    def _check_room(self, length: int) -> None:
        if length > self._size - self._file.tell():
            raise _BrokenError("it ends too early")


def _type_of(code: int) -> tuple[str, int, int]:
    """Name of a tensor's type, and elements and bytes of its blocks."""
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    try:
        kind = GGMLQuantizationType(code)
    except ValueError:
        raise _BrokenError(f"a tensor of the unknown type {code}") from None
    block, size = GGML_QUANT_SIZES[kind]
    return kind.name, block, size
