"""The address that the server listens on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

_ADDRESS = re.compile(r"(?:\[(?P<ipv6>[^\[\]]*)\]|(?P<host>[^:\[\]]*)):(?P<port>\d{1,5})\Z", re.ASCII)
_HOSTNAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\Z")


@dataclass(frozen=True, slots=True)
class Bind:
    """A host, without the brackets of an IPv6 address, and a port; port 0 lets the system choose one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Bind:
        """`127.0.0.1:8000`, `[::1]:8000`, `localhost:8000`. Raises ValueError with what to write instead."""
        match = _ADDRESS.match(text)
        if match is None:
            raise ValueError(_advice(text))
        host, port = match["host"], int(match["port"])
        if port > 65535:
            raise ValueError(f"port {port} does not exist; the highest is 65535")
        if host is None:
            try:
                host = str(IPv6Address(match["ipv6"]))
            except ValueError:
                raise ValueError(f"{match['ipv6'][:60]!r} in brackets is not an IPv6 address") from None
        elif host == "":
            raise ValueError(f"name the host: 127.0.0.1:{port} for this machine alone, 0.0.0.0:{port} for every network it is in")
        elif re.fullmatch(r"[\d.]+", host):
            try:
                IPv4Address(host)
            except ValueError:
                raise ValueError(f"{host[:60]!r} is not an IPv4 address") from None
        elif not _HOSTNAME.match(host):
            raise ValueError(f"{host[:60]!r} is not a host's name or address")
        return cls(host, port)

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches it. A name other than `localhost` is not trusted to stay on loopback."""
        if self.host.lower() == "localhost":
            return True
        try:
            address = ip_address(self.host)
        except ValueError:
            return False
        # Before 3.13 an IPv4 address written as IPv6 was not asked for its own kind.
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return (mapped or address).is_loopback

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _advice(text: str) -> str:
    if text.startswith(("unix:", "fd:")):
        return "unix sockets and file descriptors are not taken; name a host and a port, as in 127.0.0.1:8000"
    if text.count(":") > 1 and "[" not in text and "/" not in text:
        return "an IPv6 address goes in brackets, as in [::1]:8000"
    return "name a host and a port, as in 127.0.0.1:8000"
