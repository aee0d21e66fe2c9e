"""The forms in which a request and an answer pass between a protocol and the engine.

Structs rather than dataclasses, since two are made for each request: a frozen dataclass takes ten times as long to make.
"""

from __future__ import annotations

import msgspec

from models.tensor import Array
from service.protocol.pictures import Picture, Refused, Seen


class Infer(msgspec.Struct, frozen=True, gc=False):
    """A decoded request whose tensors fit the model.

    ``outputs`` names what to compute, in the order asked. ``timeout_s`` is the caller's own limit, ``priority`` the level of a
    Triton model that has three: 1 the highest, 2 the default, as are 0 and what is over 3. ``form`` says how the answer is to be
    written and is read by its own protocol alone.

    ``pictures``: encoded images that the rows are still to be made of, and that ``inputs`` lack so far; then ``seen`` says what
    became of each. ``apart``: one that is bad is told of there, and costs the others nothing; else it is the whole request's error.
    """

    inputs: dict[str, Array]
    rows: int
    outputs: tuple[str, ...]
    id: str | None = None
    timeout_s: float | None = None
    priority: int = 0
    form: object = None
    pictures: tuple[Picture, ...] = ()
    seen: tuple[Seen | Refused, ...] = ()
    apart: bool = False


class Encoded(msgspec.Struct, frozen=True, gc=False):
    """A response's body, with the headers that only the protocol knows."""

    body: bytes
    content_type: bytes = b"application/json"
    headers: tuple[tuple[bytes, bytes], ...] = ()
