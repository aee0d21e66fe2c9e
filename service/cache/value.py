"""What is kept of an answer: its outputs as bytes, which nobody can change and nobody has to trust.

    checksum (4 bytes)  length of the head (4 bytes)  head (MessagePack: name, datatype, shape, bytes of each output)  the outputs

Nothing in it is ever run, as it would be were it pickled: whoever can write to a shared cache can give wrong answers and no more.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import Final

import msgspec
import numpy as np

from models.tensor import DATATYPES, DTYPES, Array

_FRAME: Final = struct.Struct("<II")


class Damaged(ValueError):
    """The bytes are no value that was kept."""


class _Part(msgspec.Struct, array_like=True, gc=False):
    name: str
    datatype: str
    shape: tuple[int, ...]
    size: int


_encode = msgspec.msgpack.Encoder().encode
_decode_head = msgspec.msgpack.Decoder(list[_Part]).decode
_decode_items = msgspec.msgpack.Decoder(list[bytes]).decode


def pack(outputs: Mapping[str, Array]) -> bytes:
    """The outputs as bytes."""
    parts: list[_Part] = []
    data: list[bytes] = []
    for name, array in outputs.items():
        if array.dtype == object:
            raw = _encode([item if isinstance(item, bytes) else str(item).encode() for item in array.ravel().tolist()])
        else:
            raw = array.tobytes()
        parts.append(_Part(name, DATATYPES[array.dtype], array.shape, len(raw)))
        data.append(raw)
    head = _encode(parts)
    body = b"".join((head, *data))
    return _FRAME.pack(zlib.crc32(body), len(head)) + body


def unpack(value: bytes) -> dict[str, Array]:
    """The outputs, numbers in place and not to be written to. Raises Damaged."""
    if len(value) < _FRAME.size:
        raise Damaged("it is shorter than any value")
    checksum, length = _FRAME.unpack_from(value)
    at = _FRAME.size + length
    if at > len(value) or zlib.crc32(memoryview(value)[_FRAME.size :]) != checksum:
        raise Damaged("its checksum is another")
    outputs: dict[str, Array] = {}
    try:
        for part in _decode_head(memoryview(value)[_FRAME.size : at]):
            outputs[part.name] = _array(part, value, at)
            at += part.size
    except Exception as error:  # a head that was forged may make NumPy raise anything
        raise Damaged(str(error)) from error
    if at != len(value):
        raise Damaged("its outputs are not as long as its head says")
    return outputs


def _array(part: _Part, value: bytes, at: int) -> Array:
    dtype = DTYPES.get(part.datatype)
    if dtype is None:
        raise Damaged(f"{part.datatype!r} is no datatype of a tensor")
    if dtype.kind != "O":
        return np.frombuffer(value, dtype, part.size // dtype.itemsize, at).reshape(part.shape)
    found = _decode_items(memoryview(value)[at : at + part.size])
    items = np.empty(len(found), object)
    items[:] = found
    return items.reshape(part.shape)
