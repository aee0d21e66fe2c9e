"""``@batched``: any function of stacked arrays, batched over the callers that await it at the same time.

@batched(max_rows=64, window_ms=2)
def score(rows: np.ndarray) -> np.ndarray:      # [N, 32] -> [N]
    return model.predict(rows)

@app.post("/score")                             # in any Quart app
async def answer() -> dict[str, float]:
    row = np.asarray((await request.get_json())["row"])
    return {"score": float(await score(row))}   # one row in, one row out
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from batching.batcher import Batcher
from batching.entry import Array, Arrays
from batching.policy import Policy
from batching.priority import NORMAL, Priority

Function = Callable[..., Any]
RESULT = "result"


@dataclass(frozen=True, slots=True)
class OnLoop:
    """What one event loop's calls of a function are computed with."""

    batcher: Batcher
    pool: ThreadPoolExecutor


class Batched:
    """A function whose concurrent calls share one: awaited with one row (without its first dim), it gives that row's result.

    It keeps one batcher for each event loop that it is awaited on, with threads of its own, one for each of ``instances``.
    """

    def __init__(self, function: Function, policy: Policy, pure: bool) -> None:
        self.__wrapped__ = function
        self.__doc__ = function.__doc__
        self.__name__ = getattr(function, "__name__", "batched")
        self._policy, self._pure = policy, pure
        self._on_loops: dict[asyncio.AbstractEventLoop, OnLoop] = {}

    async def __call__(self, *row: npt.ArrayLike, priority: Priority = NORMAL) -> Any:
        """The result of one row; each argument without its first dim. Raises what the function raised, or a BatchingError."""
        return (await self.rows(*(np.asarray(argument)[np.newaxis] for argument in row), priority=priority))[0]

    async def rows(self, *arrays: npt.ArrayLike, priority: Priority = NORMAL) -> Array:
        """The results of many rows at once: every argument [N, ...], the results [N, ...]."""
        stacked: list[Array] = [np.asarray(array) for array in arrays]
        shapes = [array.shape for array in stacked]
        if not all(shapes) or len({shape[0] for shape in shapes}) != 1 or not shapes[0][0]:
            raise ValueError(f"{self.__name__} takes arrays of one and the same number of rows, at least 1; got shapes {shapes}")
        group = tuple([(array.dtype, array.shape[1:]) for array in stacked])
        inputs = {str(index): array for index, array in enumerate(stacked)}
        answer = await self.batcher.submit(inputs, shapes[0][0], group=group, priority=priority)
        return answer.outputs[RESULT]

    @property
    def batcher(self) -> Batcher:
        """The batcher of the running loop."""
        loop = asyncio.get_running_loop()
        own = self._on_loops.get(loop)
        if own is None:
            # A module's function outlives its loops, as in tests: what belonged to closed ones goes.
            for closed in [known for known in self._on_loops if known.is_closed()]:
                self._on_loops.pop(closed).pool.shutdown(wait=False)
            pool = ThreadPoolExecutor(self._policy.instances, thread_name_prefix=self.__name__)
            own = OnLoop(Batcher(self._call, self._policy, pool, name=self.__name__, pure=self._pure), pool)
            self._on_loops[loop] = own
        return own.batcher

    async def close(self) -> None:
        """Finishes what waits on the running loop, and ends its threads; a later call on this loop raises Closed."""
        await self.batcher.close()
        self._on_loops[asyncio.get_running_loop()].pool.shutdown(wait=False)

    def _call(self, inputs: Arrays, outputs: Sequence[str]) -> Arrays:
        return {RESULT: np.asarray(self.__wrapped__(*inputs.values()))}


def batched(
    *,
    max_rows: int = 64,
    window_ms: float = 2.0,
    close: Literal["early", "full"] = "early",
    instances: int = 1,
    queue_rows: int = 1024,
    timeout_ms: float = 1000.0,
    target_p99_ms: float | None = None,
    pure: bool = True,
) -> Callable[[Function], Batched]:
    """Batches a function of stacked arrays; the settings are those of ``Policy``."""
    policy = Policy(max_rows, window_ms, close, instances, queue_rows, timeout_ms, target_p99_ms)
    return lambda function: Batched(function, policy, pure)
