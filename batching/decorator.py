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
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from batching.batcher import Batcher
from batching.entry import Array, Arrays
from batching.policy import Policy

Function = Callable[..., Any]
RESULT = "result"


class Batched:
    """A function whose concurrent calls share one: awaited with one row (without its first dim), it gives that row's result.

    It keeps one batcher for each event loop that it is awaited on, and its own threads, one for each of ``instances``.
    """

    def __init__(self, function: Function, policy: Policy, pure: bool) -> None:
        self.__wrapped__ = function
        self.__doc__ = function.__doc__
        self.__name__ = getattr(function, "__name__", "batched")
        self._policy, self._pure = policy, pure
        self._pool = ThreadPoolExecutor(policy.instances, thread_name_prefix=self.__name__)
        self._batchers: WeakKeyDictionary[asyncio.AbstractEventLoop, Batcher] = WeakKeyDictionary()

    async def __call__(self, *row: npt.ArrayLike) -> Any:
        """The result of one row; each argument without its first dim. Raises what the function raised, or a BatchingError."""
        return (await self.rows(*(np.asarray(argument)[np.newaxis] for argument in row)))[0]

    async def rows(self, *arrays: npt.ArrayLike) -> Array:
        """The results of many rows at once: every argument [N, ...], the results [N, ...]."""
        stacked: list[Array] = [np.asarray(array) for array in arrays]
        lengths = {array.shape[0] if array.ndim else None for array in stacked}
        if len(lengths) != 1 or None in lengths or 0 in lengths:
            raise ValueError(f"{self.__name__} takes arrays of one and the same number of rows, at least 1; got {lengths}")
        group = tuple((array.dtype.str, array.shape[1:]) for array in stacked)
        inputs = {str(index): array for index, array in enumerate(stacked)}
        answer = await self.batcher.submit(inputs, stacked[0].shape[0], group=group)
        return answer.outputs[RESULT]

    @property
    def batcher(self) -> Batcher:
        """The batcher of the running loop."""
        loop = asyncio.get_running_loop()
        batcher = self._batchers.get(loop)
        if batcher is None:
            batcher = Batcher(self._call, self._policy, self._pool, name=self.__name__, pure=self._pure)
            self._batchers[loop] = batcher
        return batcher

    async def close(self) -> None:
        """Finishes what waits on the running loop, and ends the threads when no call is left in them."""
        await self.batcher.close()
        self._pool.shutdown(wait=False)

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
    pure: bool = True,
) -> Callable[[Function], Batched]:
    """Batches a function of stacked arrays; the settings are those of ``Policy``."""
    policy = Policy(max_rows, window_ms, close, instances, queue_rows, timeout_ms)
    return lambda function: Batched(function, policy, pure)
