"""One attack beside a measured customer, and the bounds that it must not break."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass

from loadtests.hostile.attacks import ATTACKS, UNWELCOME, Seen
from loadtests.hostile.customer import Fared
from loadtests.hostile.server import CLIENTS, Attacked, pin

RATE = 200.0
#: Until an attack has begun in full: five thousand connections take three seconds to open.
SETTLE_S = 4.0
#: What the customer may be made to wait at most, as a factor.
SLOWER = 2.0
#: What the workers may hold more at most, in bytes.
HEAVIER = 200 << 20
FINE = frozenset({"200"})
#: Answers that say why; any other 5xx is a defect.
EXPLAINED = frozenset({"503", "504"})


@dataclass(frozen=True, slots=True)
class Round:
    """One attack, or none: how the customer fared, what the attacker saw, what the workers held more than before (bytes, files)."""

    name: str
    customer: Fared
    seen: Counter[str]
    resident: int
    descriptors: int

    @property
    def p99(self) -> float:
        """Milliseconds."""
        return self.customer["p99"]

    def faults(self) -> list[str]:
        """What broke a bound other than that of time, in words."""
        faults = []
        statuses = self.customer["statuses"]
        if set(statuses) - FINE or self.customer["wrong"] or self.customer["broken"]:
            faults.append(f"the customer saw {statuses}, {self.customer['wrong']} wrong, {self.customer['broken']} broken")
        if self.resident > HEAVIER:
            faults.append(f"the workers grew by {self.resident >> 20} MiB")
        if any(status.startswith("5") and status not in EXPLAINED for status in self.seen):
            faults.append("the attacker saw a 5xx that explains nothing")
        if self.name in UNWELCOME and self.seen["200"]:
            faults.append("the attacker was let in")
        return faults


async def fare(server: Attacked, name: str | None, seconds: float) -> Round:
    """The customer's lot while an attack runs."""
    resident, descriptors = server.resident(), server.descriptors()
    seen: Seen = Counter()
    attack = asyncio.create_task(ATTACKS[name](server, seen)) if name is not None else None
    await asyncio.sleep(SETTLE_S)
    command = [sys.executable, "-m", "loadtests.hostile.customer", str(server.port), str(server.key_file), str(seconds), str(RATE)]
    customer = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, preexec_fn=_first)
    pin([customer.pid], CLIENTS)
    out, _ = await customer.communicate()
    grown = server.resident() - resident, server.descriptors() - descriptors
    if attack is not None:
        if attack.done():
            attack.result()
        attack.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await attack
        await asyncio.sleep(SETTLE_S)
    return Round(name or "nothing", json.loads(out), seen, *grown)


def _first() -> None:
    """The customer is measured, and shares a core with the attacker: it goes first."""
    with contextlib.suppress(OSError):
        os.nice(-10)
