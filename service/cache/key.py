"""What an answer is kept under: a digest of all that it depends on, and of nothing else.

Model, version, the files that it was loaded from, every byte of every input with its name, datatype and shape, and the outputs
asked for, in their order. Never the request's id, and never a shortened form of an array. Each part is preceded by its length, so
that no two requests give the same bytes.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from typing import Final

import numpy as np

from models.tensor import Array

#: BLAKE2b at 160 bits (RFC 7693): two inputs that share a key are not to be found, by whoever looks for them.
_SIZE: Final = 20
_LENGTH: Final = struct.Struct("<Q")


class Keys:
    """The keys of one loaded version; ``files`` tells it from the same version of other files."""

    __slots__ = ("_base",)

    def __init__(self, model: str, version: str, files: str) -> None:
        self._base = hashlib.blake2b(digest_size=_SIZE, person=b"tureen cache")
        for part in (model, version, files):
            _put(self._base, part.encode())

    def key(self, inputs: Mapping[str, Array], outputs: tuple[str, ...]) -> bytes:
        """That of one request: 20 bytes."""
        digest = self._base.copy()
        for name in sorted(inputs) if len(inputs) > 1 else inputs:
            array = inputs[name]
            _put(digest, f"{name}\0{array.dtype.str}\0{array.shape}".encode())
            if array.dtype == object:
                for item in array.ravel().tolist():
                    _put(digest, item if isinstance(item, bytes) else str(item).encode())
            else:
                digest.update(np.ascontiguousarray(array).data)
        _put(digest, "\0".join(outputs).encode())
        return digest.digest()


def _put(digest: hashlib.blake2b, part: bytes) -> None:
    digest.update(_LENGTH.pack(len(part)))
    digest.update(part)
