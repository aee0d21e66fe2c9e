"""The address that the routes that ask for the scope admin have to themselves, where `[admin] bind` gives them one.

By the port of the socket that the connection came to, which the two addresses never share; nothing that a caller sends is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def from_admin_address(scope: Mapping[str, Any], port: int | None) -> bool:
    """Whether an ASGI connection came to where admin routes are; without a ``port`` of their own they are everywhere."""
    if port is None:
        return True
    server = scope.get("server")
    return server is not None and server[1] == port
