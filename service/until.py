"""How long an answer is waited for, while what was asked is still being read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf
from time import perf_counter

from batching import DeadlineExceeded

#: The longest that anything is waited for (seconds): no loop's timer takes every number that a caller may give.
LONGEST_S = 86_400.0


@dataclass(slots=True)
class Until:
    """To ``at``, ``perf_counter``'s (seconds), which whoever gives up sets to the past: threads look at it before each step."""

    at: float

    @property
    def left_s(self) -> float:
        """How much longer (seconds)."""
        return self.at - perf_counter()

    def give_up(self) -> None:
        """Nobody waits any more."""
        self.at = -inf

    def over(self, before: str) -> DeadlineExceeded:
        """What there is to say then, where it came ``before`` something."""
        return DeadlineExceeded(f"the deadline passed before {before}", "admission")

    @asynccontextmanager
    async def kept(self, before: str) -> AsyncIterator[None]:
        """Ends what is within when the time is over, and gives up with it. Raises DeadlineExceeded."""
        try:
            async with asyncio.timeout(min(self.left_s, LONGEST_S)):
                yield
        except TimeoutError:
            raise self.over(before) from None
        finally:
            self.give_up()
