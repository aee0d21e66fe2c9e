"""How many connections each address has open: a table that forgets an address with its last one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from service.guard.address import Trusted, parsed, shown


class Addresses:
    """Up to ``limit`` each; those of ``trusted`` networks, proxies behind which many callers stand, are not held to it."""

    __slots__ = ("_limit", "_open", "_trusted")

    def __init__(self, limit: int, trusted: Iterable[str] = ()) -> None:
        self._limit = limit
        self._trusted = Trusted(trusted)
        self._open: dict[str, int] = {}

    def enter(self, peer: Any) -> str | None:
        """One more of a socket's peer: what it is counted under, an address, or of IPv6 its /64 network; None where it is one too
        many."""
        host = peer[0] if isinstance(peer, tuple) else ""
        address = shown(host)
        count = self._open.get(address, 0)
        if count >= self._limit and not self._is_trusted(host):
            return None
        self._open[address] = count + 1
        return address

    def leave(self, address: str) -> None:
        """One of those is gone."""
        count = self._open[address] - 1
        if count:
            self._open[address] = count
        else:
            del self._open[address]

    def __len__(self) -> int:
        """The addresses that have any."""
        return len(self._open)

    def _is_trusted(self, host: str) -> bool:
        address = parsed(host) if self._trusted.known else None
        return address is not None and address in self._trusted
