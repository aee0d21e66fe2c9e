"""One inference request on its way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Final

from service.protocol.infer import Infer
from service.response import request_id
from service.routing import Target

if TYPE_CHECKING:
    from service.engine import Served
    from service.guard.gate import Grant
    from service.guard.principal import Principal

Headers = Mapping[bytes, bytes]

_CODING: Final = b"content-encoding"


def fields(lines: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Header lines by their names, the last where one came more than once; a body's codings are one list (RFC 9110, 5.3)."""
    found = dict(lines)
    if len(found) < len(lines) and _CODING in found:
        found[_CODING] = b", ".join([value for name, value in lines if name == _CODING])
    return found


class Request:
    """What came, and what is known of it so far; the headers' names are lower case.

    ``principal`` is None until it is known who sent it, ``grant`` until he was let in, ``served`` until the version is found,
    ``infer`` until the body is decoded, at ``decoded``. ``key``: what its answer is kept under, where that was found on the way.
    ``started`` and ``decoded`` are ``perf_counter``'s (seconds). ``waited_s``: how long it waited to be looked at, its images too.
    ``query`` is as it came.
    """

    __slots__ = (
        "body",
        "decoded",
        "grant",
        "headers",
        "id",
        "infer",
        "key",
        "principal",
        "query",
        "served",
        "started",
        "target",
        "waited_s",
    )

    principal: Principal | None
    grant: Grant | None
    served: Served | None
    infer: Infer | None
    key: bytes | None

    def __init__(self, target: Target, headers: Headers, body: bytes, query: bytes = b"") -> None:
        self.started = self.decoded = perf_counter()
        self.target = target
        self.headers = headers
        self.body = body
        self.query = query
        self.id = request_id(headers.get(b"x-request-id"))
        self.waited_s = 0.0
        self.principal = self.grant = self.served = self.infer = self.key = None
