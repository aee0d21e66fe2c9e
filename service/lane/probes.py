"""What orchestrators' probes ask, answered in front of the Quart app like inferences: at full load each turn of the event loop
takes milliseconds, and Quart's way takes several."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Final

from service.account import Account, Plain
from service.health import Ailment
from service.request import Headers
from service.response import Response, request_id, response

LIVE: Final[Mapping[str, Mapping[str, object]]] = {"/v2/health/live": {"live": True}, "/healthz": {"status": "ok"}}
READY: Final = frozenset({"/v2/health/ready", "/readyz"})
_LEAVE: Final = frozenset({b"origin", b"content-length", b"transfer-encoding"})


class Probes:
    """Whether the server lives, and whether it is ready: ``ailments`` says why not."""

    def __init__(self, ailments: Callable[[], list[Ailment]], account: Account) -> None:
        self._ailments = ailments
        self._account = account

    def answer(self, path: str, headers: Headers) -> Response | None:
        """The answer to a plain GET, already accounted for; None where the path or the headers are the app's to read."""
        if (path not in LIVE and path not in READY) or not _LEAVE.isdisjoint(headers):
            return None
        begun = perf_counter()
        name = request_id(headers.get(b"x-request-id"))
        content, status = (LIVE[path], 200) if path in LIVE else readiness(self._ailments())
        made = response(status, content, name)
        self._account.plain(Plain(name, "GET", path, path, status, perf_counter() - begun))
        return made


def readiness(ailments: list[Ailment]) -> tuple[Mapping[str, object], int]:
    """The body and the status that tell whether the server is ready."""
    if not ailments:
        return {"ready": True}, 200
    problems = [{"worker": ailment.worker, "pid": ailment.pid, "problem": ailment.problem} for ailment in ailments]
    return {"ready": False, "problems": problems}, 503
