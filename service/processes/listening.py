"""The socket that a server listens on: one, shared by its workers, and closed without losing who has already come."""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
import sys
from typing import Final

from service.bind import Bind
from service.errors import ConfigError

#: Linux's number for the option; Python has no name for it.
_SO_ATTACH_FILTER: Final = 26
# A classic BPF program over a segment's TCP header: one with the SYN flag is dropped, every other one is let through.
_NO_SYN: Final = b"".join(
    struct.pack("=HBBI", *instruction)
    for instruction in ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))
)


def doors(public: Bind, admin: Bind | None) -> tuple[socket.socket, ...]:
    """The sockets of a server: where all may come, and where admins may, if that is elsewhere. Raises ConfigError."""
    first = listen(public)
    if admin is None:
        return (first,)
    try:
        second = listen(admin, "another [admin] bind")
    except ConfigError:
        first.close()
        raise
    if first.getsockname()[1] == second.getsockname()[1]:  # by chance, where the system has chosen one
        first.close()
        second.close()
        raise ConfigError(f"[admin] bind: {admin} and {public} have one port; requests are told apart by it, so give another")
    return first, second


def listen(bind: Bind, mend: str = "another --bind") -> socket.socket:
    """A bound socket; who serves on it begins to listen. Raises ConfigError where the address cannot be had."""
    family = socket.AF_INET6 if ":" in bind.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((bind.host, bind.port))
    except OSError as error:
        listening.close()
        raise ConfigError(f"cannot listen on {bind}: {error.strerror}; give {mend}") from error
    listening.setblocking(False)
    return listening


def reachable(bind: Bind, port: int) -> str:
    """The address to paste into a client on this machine: one that listens everywhere is reached on loopback."""
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}
    return str(Bind(everywhere.get(bind.host, bind.host), port))


def accepts(listening: socket.socket) -> bool:
    """Whether somebody has begun to listen."""
    return bool(listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def turn_away(listening: socket.socket) -> None:
    """Lets no new connection begin, in any process that has the socket; those that wait to be accepted stay.

    Closing a listening socket resets what waits in its queue. So first nobody may join the queue, then it is emptied, then closed.
    Who comes meanwhile is not answered, tries again after a second, as TCP does, and is refused. Only Linux can do this.
    """
    if not sys.platform.startswith("linux"):
        return
    program = ctypes.create_string_buffer(_NO_SYN)
    option = struct.pack("HL", len(_NO_SYN) // 8, ctypes.addressof(program))
    with contextlib.suppress(OSError):  # where the kernel does not let us, those in the queue at the last moment are reset
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, option)
