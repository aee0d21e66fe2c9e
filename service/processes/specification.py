"""What a supervisor tells a worker that it starts, and the words that they exchange afterwards, a line each.

The specification goes through the socket between the two, with the descriptors beside it, and never over a command line: a
configuration holds secrets, and any process may read another's arguments.
"""

from __future__ import annotations

import os
import socket
import struct
from enum import StrEnum
from typing import Final, NamedTuple

from pydantic import BaseModel, ConfigDict

from service.config import Config

_LENGTH: Final = struct.Struct("=I")


class Word(StrEnum):
    """What the supervisor says."""

    DRAIN = "drain"  # the server will stop: say so to whoever asks, and serve on
    STOP = "stop"  # the server stops: accept who waits, then nobody more, and finish
    LEAVE = "leave"  # another worker has taken over: accept nobody more, and finish
    ANNOUNCE = "announce"  # all workers serve: print the summary


class Answer(StrEnum):
    """What the worker says. REFUSED and LACKS are followed by a space and the reason, SERVES by the versions of each
    model, all as JSON."""

    SERVING = "serving"
    SERVES = "serves"
    ANNOUNCED = "announced"
    REFUSED = "refused"
    LACKS = "lacks"


class Specification(BaseModel):
    """What a worker is to be. ``begun``: when the server was started, by ``time.monotonic()``. ``held``: whether it may accept
    connections only when everything is loaded, because others serve meanwhile. ``owed``: what the one that it is to replace
    serves, versions by model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: Config
    slot: int
    slots: int
    state: str | None
    begun: float
    held: bool
    owed: dict[str, list[int]] = {}


class Descriptors(NamedTuple):
    """The open files that a worker is given: the listening socket, the board's memory, the cells' and the budgets', and the socket
    of the admin address, which is last because not every server has one."""

    listening: int
    board: int
    cells: int
    budgets: int
    admin: int | None = None


def send(channel: socket.socket, specification: Specification, descriptors: Descriptors) -> None:
    """Tells a worker what it is to be. Raises OSError where it is gone already."""
    text = specification.model_dump_json().encode()
    socket.send_fds(channel, [_LENGTH.pack(len(text))], [one for one in descriptors if one is not None])
    channel.sendall(text)


def receive(channel: socket.socket) -> tuple[Specification, Descriptors] | None:
    """What the supervisor told; None where it is gone. What is received is not inherited by further processes."""
    length, descriptors, _, _ = socket.recv_fds(channel, _LENGTH.size, len(Descriptors._fields))
    if not length:
        return None
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    text = bytearray()
    (left,) = _LENGTH.unpack(length)
    while len(text) < left:
        more = channel.recv(left - len(text))
        if not more:
            return None
        text += more
    return Specification.model_validate_json(bytes(text)), Descriptors(*descriptors)
