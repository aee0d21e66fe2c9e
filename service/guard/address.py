"""Which address a request comes from, and under what name its budget is kept.

`X-Forwarded-For` is read from its right end, where each proxy has written whom it saw, and only as far as those who wrote are
trusted: what lies left of the first stranger is the stranger's own invention. Whoever has an IPv6 network has 2^64 addresses in it,
so that the network counts as one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

#: Where no address is known, as on a unix socket.
UNKNOWN: Final = "unknown"
#: So many proxies may stand in a row; who writes more is not read further.
MOST_HOPS: Final = 16
#: No address with its port and brackets is longer (characters).
_LONGEST: Final = 80

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Trusted:
    """The networks whose word on who called them is taken, as ``[limits] trusted_proxies`` has them."""

    __slots__ = ("_networks", "known")

    def __init__(self, networks: Iterable[str] = ()) -> None:
        parsed: list[Network] = [ipaddress.ip_network(network) for network in networks]
        self._networks = tuple(parsed)
        #: Whether there is any.
        self.known = bool(parsed)

    def __contains__(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def caller(headers: Sequence[tuple[bytes, bytes]], peer: str | None, trusted: Trusted) -> str:
    """The address that counts: the socket's, or the nearest that a chain of trusted proxies has seen; of IPv6 its /64 network.

    ``headers`` have lower-case names; ``peer`` is None where the socket has no address.
    """
    if peer is None:
        return UNKNOWN
    if not trusted.known:
        return shown(peer)
    address = parsed(peer)
    if address is None:
        return shown(peer)
    for hop in _hops(headers):
        if address not in trusted:
            break
        before = parsed(hop)
        if before is None:  # an empty or made-up entry says nothing of who came before
            break
        address = before
    return _counted(address)


@lru_cache(maxsize=4096)
def shown(peer: str) -> str:
    """A socket's address as a budget is kept under it."""
    address = parsed(peer)
    return UNKNOWN if address is None else _counted(address)


def parsed(text: str) -> Address | None:
    """An address, also with a port or in brackets; None where it is none. One of IPv4 in IPv6's form is the former."""
    if len(text) > _LONGEST:
        return None
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _counted(address: Address) -> str:
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    network = ipaddress.IPv6Address(int(address) >> 64 << 64)
    return f"{network}/64"


def _hops(headers: Sequence[tuple[bytes, bytes]]) -> list[str]:
    """Who was seen, the nearest first, over all lines of the header."""
    hops: list[str] = []
    for name, value in reversed(headers):
        if name == b"x-forwarded-for":
            hops += [hop.strip().decode("latin-1") for hop in reversed(value.rsplit(b",", MOST_HOPS)[-MOST_HOPS:])]
            if len(hops) >= MOST_HOPS:
                break
    return hops[:MOST_HOPS]
