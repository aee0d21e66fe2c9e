"""An app with a way to break a batcher: for ``--app breaking:extend``."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from quart import Quart

from batching import Defect
from service import service_of


def extend(app: Quart) -> None:
    """Adds the way."""

    @app.post("/break")
    async def break_a_batcher() -> dict[str, object]:
        """The pool of `affine` takes no more calls, which is a defect of its batcher."""
        engine = service_of().engine
        served = engine.served("affine")
        broken, engine.threads.calls = engine.threads.calls, ThreadPoolExecutor(64)
        broken.shutdown(wait=False)
        with contextlib.suppress(Defect):
            await served.batcher.submit({"x": np.zeros((1, 4), np.float32)}, 1)
        return {"broken": served.model}
