"""What decoding and batched inference reach in a plain loop, with no server: the measure of ``loadtests.classify``.

python -m loadtests.offline MODEL PHOTOGRAPHS [--decoder tureen|pillow] [--decoders 1] [--batch 16] [--threads 1] [--loops 1]
                           [--seconds 5]

The loop has all its images at hand, decodes the next batch in threads while the runtime computes this one, and waits for nobody.
``tureen`` decodes as the server does (so this module, other than its neighbours, knows ``models``), ``pillow`` as one does by hand.
Prints one line of JSON: images a second, CPU time of an image, and each photograph's best class.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from loadtests.peers import photograph

Floats = npt.NDArray[np.float32]
Decode = Callable[[bytes, Floats], object]
WARM_S = 1.0


def main(arguments: Sequence[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.offline", description="Decoding and inference without a server.")
    parser.add_argument("model", type=Path, help="the model's directory")
    parser.add_argument("photographs", type=Path, help="a directory of images")
    parser.add_argument("--decoder", choices=["tureen", "pillow"], default="tureen")
    parser.add_argument(
        "--decoders", type=int, default=1, help="threads that decode while another computes; 0: one thread does all"
    )
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1, help="of ONNX Runtime")
    parser.add_argument("--loops", type=int, default=1, help="so many loops at once, each in a thread of its own")
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args(arguments)
    images = [file.read_bytes() for file in sorted(options.photographs.iterdir())]
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    session = onnxruntime.InferenceSession(options.model / "1" / "model.onnx", settings, providers=["CPUExecutionProvider"])
    loop = Loop(session, by_tureen(options.model) if options.decoder == "tureen" else by_pillow, options.batch)
    best = [int(index) for scores in loop.once(images) for index in scores.argmax(axis=1)]
    with ThreadPoolExecutor(options.loops) as pool:

        def rate_of(seconds: float) -> float:
            return sum(pool.map(lambda _: loop.rate(images, options.decoders, seconds), range(options.loops)))

        rate_of(WARM_S)
        cpu_s, begun = time.process_time(), time.perf_counter()
        rate = rate_of(options.seconds)
        cpu_ms = 1e3 * (time.process_time() - cpu_s) / (rate * (time.perf_counter() - begun))
    print(json.dumps({"rate": rate, "cpu_ms": cpu_ms, "best": best}))
    return 0


def by_tureen(model: Path) -> Decode:
    """As the server decodes for that model."""
    from models.manifest import read_manifest
    from models.runtimes.onnx import OnnxRuntime
    from models.vision.header import Bounds, look
    from models.vision.prepare import prepare
    from models.vision.recipe import recipe

    image = read_manifest(model).image
    if image is None:
        raise SystemExit(f"the model {model.name!r} has no [image] in its model.toml; name one that has")
    runtime = OnnxRuntime.load(model / "1" / "model.onnx")
    followed = recipe(image, runtime.signature)
    runtime.close()
    bounds = Bounds()
    return lambda data, row: prepare(data, look(data, bounds), followed, row)


def by_pillow(data: bytes, row: Floats) -> None:
    """As the peers' servers decode."""
    row[:] = photograph.opened(data)


class Loop:
    """Images to scores, a batch at a time."""

    def __init__(self, session: Any, decode: Decode, batch: int) -> None:
        self._session, self._decode, self._batch = session, decode, batch
        (self._input,) = session.get_inputs()

    def once(self, images: Sequence[bytes]) -> Iterator[Floats]:
        """All of them, one after the other."""
        for begin in range(0, len(images), self._batch):
            chosen = images[begin : begin + self._batch]
            values = self._array(len(chosen))
            for image, row in zip(chosen, values, strict=True):
                self._decode(image, row)
            yield self._scores(values)

    def rate(self, images: Sequence[bytes], decoders: int, seconds: float) -> float:
        """Images a second, over so long."""
        endless = cycle(images)
        begun, done = time.perf_counter(), 0
        if decoders == 0:
            while time.perf_counter() < begun + seconds:
                done += sum(len(scores) for scores in self.once(list(islice(endless, self._batch))))
            return done / (time.perf_counter() - begun)
        with ThreadPoolExecutor(decoders) as pool:
            values, following = self._array(self._batch), self._array(self._batch)
            waiting = self._begin(pool, endless, values)
            while time.perf_counter() < begun + seconds:
                for future in waiting:
                    future.result()
                waiting = self._begin(pool, endless, following)
                done += len(self._scores(values))
                values, following = following, values
            elapsed = time.perf_counter() - begun
        return done / elapsed

    def _begin(self, pool: ThreadPoolExecutor, images: Iterator[bytes], values: Floats) -> list[Future[object]]:
        return [pool.submit(self._decode, next(images), row) for row in values]

    def _array(self, rows: int) -> Floats:
        return np.empty((rows, *self._input.shape[1:]), np.float32)

    def _scores(self, values: Floats) -> Floats:
        scores: Floats = self._session.run(None, {self._input.name: values})[0]
        return scores


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
