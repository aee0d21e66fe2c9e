"""Who may come may not stay for ever: a connection that lasts, a WebSocket's, ends with its caller's credential."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from service.errors import Unauthorized
from service.guard.gate import Known
from service.guard.principal import Principal, Scope

if TYPE_CHECKING:
    from service.guard.gate import Gate

#: Where an ASGI scope has the connection's ``Stay``.
STAY: Final = "tureen.stay"
#: How often it is asked (seconds).
LOOK_S: Final = 0.25
#: What the client is told: a close code ("policy violation") and a reason.
EXPELLED: Final = 1008, "the credential is no longer valid"


class Stay:
    """One connection's."""

    __slots__ = ("_gate", "_generation", "_headers", "_known", "_model", "_need", "_peer")

    def __init__(
        self, gate: Gate, principal: Principal, headers: Sequence[tuple[bytes, bytes]], peer: str, need: Scope, model: str | None
    ) -> None:
        self._gate = gate
        self._headers, self._peer = headers, peer
        self._need, self._model = need, model
        self._known = Known(principal, gate.generation)

    def holds(self) -> bool:
        """Whether its caller may still have it."""
        if self._gate.holds(self._known):
            return True
        generation = self._gate.generation
        try:
            principal = self._gate.identify(self._headers, self._peer)
        except Unauthorized:
            return False
        self._known = Known(principal, generation)
        return principal.may(self._need, self._model)
