"""Request heads that have been parsed and judged before.

A client on a kept connection sends the same head again and again, byte for byte. The parser is deterministic: between two messages,
the same bytes mean the same request, so a head that it has once accepted whole need not be parsed, looked up and judged again.
That saves a quarter of a small request's time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from service.errors import Unauthorized
from service.guard.gate import Gate, Known
from service.guard.principal import Principal, Scope
from service.protocol import images
from service.request import fields
from service.routing import Target

#: Longer heads, and more of them, are not kept: what callers send must not fill memory.
LONGEST, MOST = 2048, 256
#: Any of these makes a request more than a lane at a protocol's depth understands.
LEAVE = frozenset({b"origin", b"transfer-encoding", b"expect", b"upgrade"})
#: Where proxies say whom they speak for.
FORWARDED: Final = b"x-forwarded-for"
#: A head with one of these is new each time.
UNIQUE = frozenset({b"x-request-id", b"traceparent"})
#: What is judged with the head, and then nobody's.
SECRET: Final = frozenset({b"authorization", b"x-api-key"})


class Head(NamedTuple):
    """What a head asks for: ``length`` is its body's, in bytes.

    ``bearer``: whose credential it brings; None where nobody is asked. Then it is whoever has the connection, or, where it comes
    by a trusted proxy, whoever the headers in ``forwarded`` say. ``may``: whether its bearer was found to have the scope.
    """

    target: Target
    headers: dict[bytes, bytes]
    length: int
    bearer: Known | Unauthorized | None = None
    forwarded: tuple[tuple[bytes, bytes], ...] = ()
    may: bool = False

    def sender(self, gate: Gate, peer: str) -> Principal | Unauthorized:
        """Who sends it on a connection from that address."""
        bearer = self.bearer
        if bearer is None:
            return gate.stranger(self.forwarded, peer)
        return bearer.principal if isinstance(bearer, Known) else bearer


def judged(gate: Gate, target: Target, headers: Sequence[tuple[bytes, bytes]], length: int, peer: str) -> Head:
    """A head that was parsed; ``headers`` as often as each came."""
    kept = {name: value for name, value in fields(headers).items() if name not in SECRET}
    if gate.asks:
        bearer = gate.known(headers, peer)
        may = isinstance(bearer, Known) and bearer.principal.may(Scope.INFER, target.model)
        return Head(target, kept, length, bearer, may=may)
    forwarded = tuple([header for header in headers if header[0] == FORWARDED]) if gate.forwarded else ()
    return Head(target, kept, length, None, forwarded)


class Heads:
    """The heads seen so far, bounded; only those of senders whom ``gate`` lets in."""

    def __init__(self, gate: Gate) -> None:
        self._known: dict[bytes, Head] = {}
        self._gate = gate

    def get(self, head: bytes) -> Head | None:
        """What that head asks for; None where it has to be read anew, or its credential no longer holds."""
        found = self._known.get(head)
        if found is None:
            return None
        bearer = found.bearer
        if not isinstance(bearer, Known) or self._gate.holds(bearer):
            return found
        del self._known[head]
        return None

    def learn(self, head: bytes, meaning: Head) -> None:
        """Keeps a head that was parsed, taken, and leaves its connection open."""
        bearer = meaning.bearer
        if meaning.target.protocol is images:
            return  # no two images are of the same length
        if len(head) > LONGEST or not UNIQUE.isdisjoint(meaning.headers) or isinstance(bearer, Unauthorized):
            return
        if bearer is not None and not meaning.may:
            return  # strangers, and who is refused, must not drive out the others
        if len(self._known) >= MOST:
            self._known.clear()  # whoever is still there will be known again after one request
        self._known[head] = meaning
