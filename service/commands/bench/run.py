"""A run from its first request to its last: warm-up, a look at the server's counts, the measured time, another look."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from service.commands.bench.arrivals import Closed, Open, Pace, schedule
from service.commands.bench.batches import Counted, formed, since
from service.commands.bench.drive import Drive, Prepared
from service.commands.bench.record import Record
from service.commands.bench.result import Asked, Result
from service.commands.bench.target import Target
from service.commands.client import Client, Refused, Unreachable
from service.progress import Bar


def run(asked: Asked, target: Target, client: Client, requests: Sequence[Prepared], timeout_s: float) -> Result | None:
    """What came of it; None where it was interrupted before anything was measured. Raises ValueError for too many requests."""
    paces = [_pace(asked, seconds, seed) for seconds, seed in ((asked.warmup_s, asked.seed + 1), (asked.seconds, asked.seed))]
    with asyncio.Runner(loop_factory=fast_loop) as runner:

        async def open_drive() -> Drive:
            return Drive(target.address, requests, asked.connections, timeout_s)

        drive = runner.run(open_drive())
        try:
            if asked.warmup_s:
                with _watching("warm-up", asked.warmup_s, warm := Record(asked.warmup_s)) as watch:
                    if runner.run(drive.run(paces[0], warm, asked.warmup_s, watch)).interrupted:
                        return None
            before = _counted(target, client)
            gc.collect()
            gc.freeze()  # what is there to stay need not be looked through while latencies are measured
            record = Record(asked.seconds)
            with _watching("measuring", asked.seconds, record) as watch:
                ran = runner.run(drive.run(paces[1], record, asked.seconds, watch))
            after = _counted(target, client)
            told = since(before, after) if isinstance(before, Counted) and isinstance(after, Counted) else None
            missing = next((each for each in (before, after) if isinstance(each, str)), "")
            if told is None and not missing:
                missing = "they went back meanwhile, as when a model is loaded again or a worker replaced"
            batches = formed(told, record.shared, record.ok)
            return Result(asked, record, ran.seconds, ran.busy, ran.unsent, ran.interrupted, drive.most_open, batches, missing)
        finally:
            gc.unfreeze()
            runner.run(drive.close())


def _pace(asked: Asked, seconds: float, seed: int) -> Pace:
    if asked.rate is None:
        return Closed(asked.connections)
    return Open(schedule(asked.arrivals, asked.rate, seconds, seed))


def _counted(target: Target, client: Client) -> Counted | str:
    """The server's counters, or why they are not to be had."""
    try:
        return target.counted(client)
    except (Unreachable, Refused) as error:
        return str(error)


@contextmanager
def _watching(step: str, seconds: float, record: Record) -> Iterator[Callable[[float], None]]:
    """Shows how far it is on a terminal, and nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with Bar(sys.stderr) as bar:

        def show(elapsed: float) -> None:
            done = min(1.0, elapsed / seconds)
            failed = f", {record.failed:,} failed" if record.failed else ""
            bar.show(done, f"{step}: {record.ok / max(elapsed, 0.1):,.0f} requests/s{failed}")

        yield show


def fast_loop() -> asyncio.AbstractEventLoop:
    """uvloop, where there is one."""
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    import uvloop

    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop
