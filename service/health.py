"""Whether a server is ready: the same answer from every worker, since all read the same board. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from service.processes.board import Line, Phase
from service.store.reconcile import Told

#: A worker whose event loop has not turned for so long does not answer (seconds).
STILL_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Ailment:
    """What keeps one worker from serving; no worker where the server as a whole lacks some."""

    worker: int | None
    pid: int
    problem: str


def ailments(lines: Iterable[Line], workers: int, now: float) -> list[Ailment]:
    """Why the server is not ready; empty when it is.

    It is when as many workers serve as are configured, and each of them is ready. While a reload replaces workers there are more
    than that, and those that start or leave do not count.
    """
    started = [line for line in lines if line.phase is not Phase.NONE]
    serve = [line for line in started if line.phase is Phase.SERVING]
    found = [ailment for line in serve if (ailment := _ailment(line, now)) is not None]
    if len(serve) >= workers:
        return found
    for line in started:
        match line.phase:
            case Phase.STARTING:
                found.append(Ailment(line.slot, line.pid, Told.parse(line.text).unready or "it starts"))
            case Phase.GONE:
                found.append(Ailment(line.slot, line.pid, "it died, and nobody has taken its place yet"))
            case Phase.DRAINING:
                found.append(Ailment(line.slot, line.pid, "it is about to stop"))
            case _:
                pass
    return found or [Ailment(None, 0, f"{len(serve)} of {workers} workers serve")]


def _ailment(line: Line, now: float) -> Ailment | None:
    if not line.ready:
        return Ailment(line.slot, line.pid, Told.parse(line.text).unready or "it is not ready")
    still = now - line.beat
    if line.beat and still > STILL_S:
        return Ailment(line.slot, line.pid, f"its event loop has stood still for {still:.0f} s")
    return None
