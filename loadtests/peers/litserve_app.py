"""LitServe, its own batching on: ``predict`` gets what ``batch`` stacked, and decoding is spread over threads, as one would."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import litserve
import numpy as np
from fastapi import Request

from loadtests.peers.photograph import BATCH, PORT, WORKERS, Floats, best, opened, session

WAIT_S = 0.005


class Photographs(litserve.LitAPI):  # type: ignore[misc]  # installed in the peer's environment alone
    """``POST /predict``, multipart."""

    def setup(self, device: str) -> None:
        """Once in each worker."""
        self.session = session()
        self.decoders = ThreadPoolExecutor(len(os.sched_getaffinity(0)))

    def decode_request(self, request: Request) -> bytes:
        """The upload's bytes. LitServe looks at the annotation itself, and gives the form."""
        return bytes(request["file"].file.read())

    def batch(self, inputs: Sequence[bytes]) -> Floats:
        """Decoded here, where all of a batch are known, and not one after the other."""
        return np.stack(list(self.decoders.map(opened, inputs)))

    def predict(self, x: Floats) -> Floats:
        """All of a batch."""
        logits: Floats = self.session.run(None, {"input": x})[0]
        return logits

    def unbatch(self, output: Floats) -> list[Any]:
        """Its answers."""
        return best(output)

    def encode_response(self, output: Any) -> Any:
        """One answer."""
        return {"classes": output}


if __name__ == "__main__":
    api = Photographs(max_batch_size=BATCH, batch_timeout=WAIT_S)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=WORKERS)
    server.run(host="127.0.0.1", port=PORT, generate_client_file=False, log_level="warning", access_log=False)
