"""Requests that are known by heart: bytes that were asked before, with what they meant and how they were answered.

A request for a kept answer in the very bytes of an earlier one is not decoded again, nor its answer encoded again: as long as the
value that the answer was encoded from is still the one that is kept, so whatever ends a value's life ends this with it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from service.protocol.infer import Encoded, Infer

#: Longer bodies are read each time (bytes): to look them up is work too, and what is long seldom comes twice.
LONGEST: Final = 16 * 1024
#: What a request takes beside its bytes and its tensors': the objects that they are in (bytes).
OVERHEAD: Final = 1000


class Asked(NamedTuple):
    """All that a request's meaning and the form of its answer depend on, but for the model: its protocol, and how it says where
    its binary tensors begin."""

    protocol: object
    body: bytes
    header_length: bytes | None


class Known(NamedTuple):
    """What a request means, and its answer: the ``value`` kept under ``key``, and what a caller is sent."""

    infer: Infer
    key: bytes
    value: bytes
    encoded: Encoded

    @property
    def nbytes(self) -> int:
        """What it takes (bytes)."""
        tensors = sum([array.nbytes for array in self.infer.inputs.values()])
        return OVERHEAD + tensors + len(self.value) + len(self.encoded.body)
