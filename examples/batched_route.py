"""A Quart app of its own whose route is batched: every request brings one row, and requests that come together share one call.

Run it, and post to it:

    python examples/batched_route.py
    curl -s localhost:5000/score -H 'content-type: application/json' -d '{"row": [5.1, 3.5, 1.4, 0.2]}'
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from quart import Quart, abort, jsonify, request
from quart.typing import ResponseReturnValue

from batching import DeadlineExceeded, Refused, batched

FEATURES = 4
WEIGHTS = np.linspace(-1.0, 1.0, FEATURES)

app = Quart(__name__)


@batched(max_rows=64, window_ms=2, timeout_ms=10_000)
def score(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The model: any function of stacked rows, [N, 4] -> [N]. It runs in a thread."""
    scores: npt.NDArray[np.float64] = 1 / (1 + np.exp(-rows @ WEIGHTS))
    return scores


@app.post("/score")
async def answer() -> ResponseReturnValue:
    """One row in, its score out. What is wrong with a row is said here, before it could join a batch."""
    body = await request.get_json()
    try:
        row = np.asarray(body["row"], dtype=np.float64)
    except (KeyError, TypeError, ValueError):
        abort(400)
    if row.shape != (FEATURES,):
        abort(400)
    return jsonify(score=float(await score(row)))


@app.get("/stats")
async def stats() -> ResponseReturnValue:
    """What the batcher has done so far."""
    statistics = score.batcher.statistics
    return jsonify(requests=statistics.success.count, calls=statistics.total.call.count, closed=statistics.closes)


@app.errorhandler(Refused)
async def busy(error: Refused) -> ResponseReturnValue:
    """The queue is full, or the batcher closes."""
    return jsonify(error=str(error)), 503, {"Retry-After": str(max(1, round(error.retry_after_s)))}


@app.errorhandler(DeadlineExceeded)
async def late(error: DeadlineExceeded) -> ResponseReturnValue:
    """The answer would come, or came, too late."""
    return jsonify(error=str(error)), 504


@app.after_serving
async def finish() -> None:
    """What is still waiting gets its answer before the server stops."""
    await score.close()


if __name__ == "__main__":
    app.run()
