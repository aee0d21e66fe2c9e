"""BentoML, adaptive batching on: images as it decodes them from uploads, preprocessed in threads, as one would."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import bentoml
import numpy as np
from PIL.Image import Image

from loadtests.peers.photograph import BATCH, WORKERS, best, prepared, session

LATENCY_MS = 60_000  # no request is shed


@bentoml.service(workers=WORKERS, traffic={"timeout": 60}, logging={"access": {"enabled": False}})
class Photographs:
    """``POST /classify``, multipart."""

    def __init__(self) -> None:
        self.session = session()
        self.decoders = ThreadPoolExecutor(len(os.sched_getaffinity(0)))

    @bentoml.api(batchable=True, max_batch_size=BATCH, max_latency_ms=LATENCY_MS)  # type: ignore[untyped-decorator]
    def classify(self, images: list[Image]) -> list[Any]:
        """All of a batch."""
        rows = np.stack(list(self.decoders.map(prepared, images)))
        return best(self.session.run(None, {"input": rows})[0])
