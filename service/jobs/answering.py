"""Some rows of a job to as many lines of its results: decode -> submit at low priority -> encode.

The rows go to the model together. Where they cannot be decoded or computed so, they are tried in halves, down to the one row that
is to blame, which alone gets the error.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Final, TypeVar

import msgspec
import orjson
from msgspec.structs import replace

import batching
import models
from batching import Answer, Priority
from models.tensor import Array
from service.engine import Engine, Served
from service.errors import Draining
from service.failures import failure
from service.guard.input.content import Content
from service.protocol import tfserving
from service.protocol.infer import Infer

Made = TypeVar("Made")

log = logging.getLogger("tureen.jobs")

#: From this size on rows are decoded, and answers encoded, in a thread (bytes).
LARGE: Final = 64 * 1024
#: How long a piece may wait for its turn and be computed, before it is asked for anew (seconds).
TIMEOUT_S: Final = 60.0

_PREDICTIONS: Final = msgspec.json.Decoder(dict[str, list[msgspec.Raw]])


class Put(Exception):
    """Nothing is wrong with the rows, and they cannot be computed now; ``for_s``: when to try again."""

    def __init__(self, for_s: float) -> None:
        super().__init__(f"again in {for_s:g} s")
        self.for_s = for_s


@dataclass(slots=True)
class Lines:
    """Results as lines of JSON, how many of them are errors, and for how long others were held up by them (seconds)."""

    lines: list[bytes]
    failed: int = 0
    held_s: float = 0.0


class Answering:
    """Answers rows of jobs."""

    def __init__(self, engine: Engine, content: Content) -> None:
        self._engine, self._content = engine, content
        self._told: str | None = None

    async def answer(self, job_id: str, served: Served, rows: Sequence[bytes], first: int) -> Lines:
        """The lines of those rows, of which ``first`` is the number of the first. Raises Put."""
        try:
            return await self._together(job_id, served, rows, first)
        except (batching.Closed, models.NotReady, Draining) as error:
            raise Put(getattr(error, "retry_after_s", 1.0)) from error
        except (batching.QueueFull, batching.DeadlineExceeded) as error:
            raise Put(getattr(error, "retry_after_s", 0.1)) from error
        except Exception as error:
            if len(rows) == 1:
                return Lines([self._error(job_id, first, error)], 1)
        half = len(rows) // 2
        before = await self.answer(job_id, served, rows[:half], first)
        after = await self.answer(job_id, served, rows[half:], first + half)
        return Lines(before.lines + after.lines, before.failed + after.failed, max(before.held_s, after.held_s))

    async def _together(self, job_id: str, served: Served, rows: Sequence[bytes], first: int) -> Lines:
        begun = perf_counter()
        body = b'{"instances":[%b]}' % b",".join(rows)
        if len(body) > LARGE:
            infer = await self._in_thread(lambda: self._decode(body, served))
        else:
            infer = self._decode(body, served)
        if infer.rows != len(rows):
            raise models.InvalidInput(models.Problem("instances[0]", "the row is not one row", "1 row", f"{infer.rows}"))
        decoded_s = perf_counter() - begun
        group = served.signature.group(infer.inputs)
        answer = await served.batcher.submit(
            infer.inputs, infer.rows, infer.outputs, group=group, timeout_s=TIMEOUT_S, priority=Priority.LOW
        )
        begun = perf_counter()
        if answer.nbytes > LARGE:
            made = await self._in_thread(lambda: self._encode(job_id, served, infer, answer, first))
        else:
            made = self._encode(job_id, served, infer, answer, first)
        made.held_s = decoded_s + answer.call_s + perf_counter() - begun
        return made

    def _decode(self, body: bytes, served: Served) -> Infer:
        return tfserving.decode(body, served.signature, None, self._content)

    async def _in_thread(self, step: Callable[[], Made]) -> Made:
        return await asyncio.get_running_loop().run_in_executor(self._engine.threads.decoding, step)

    def _encode(self, job_id: str, served: Served, infer: Infer, answer: Answer, first: int) -> Lines:
        """An answer's lines. A row whose result JSON cannot say has its error alone."""
        try:
            encoded = tfserving.encode(infer, answer.outputs, served.model, served.version)
            predictions = _PREDICTIONS.decode(encoded.body)["predictions"]
            return Lines([b'{"row":%d,"prediction":%b}' % line for line in enumerate(predictions, first)])
        except Exception:
            if infer.rows == 1:
                raise
        made = Lines([])
        for index in range(infer.rows):
            one = Answer(_row(answer.outputs, index), answer.queue_s, answer.call_s, answer.batch_rows, answer.reason)
            try:
                made.lines += self._encode(job_id, served, replace(infer, rows=1), one, first + index).lines
            except Exception as error:
                made.lines.append(self._error(job_id, first + index, error))
                made.failed += 1
        return made

    def _error(self, job_id: str, row: int, error: Exception) -> bytes:
        told = failure(error)
        message = told.message
        if told.code == "internal":
            message = "the server failed to answer this row; its log has the reason"
        if told.defect and self._told != job_id:  # of a million rows that fail alike, one is enough
            self._told = job_id
            log.error("row %d of job %s failed, and perhaps others after it", row, job_id, exc_info=error)
        return orjson.dumps({"row": row, "error": message, "code": told.code})


def _row(outputs: batching.Arrays, index: int) -> dict[str, Array]:
    return {name: array[index : index + 1] for name, array in outputs.items()}
