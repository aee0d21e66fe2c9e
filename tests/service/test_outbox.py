from __future__ import annotations

import asyncio

from service.lane.outbox import Outbox


class Line(asyncio.Transport):
    """A transport that writes down what it is given, or breaks."""

    def __init__(self, log: list[bytes], *, broken: bool = False, closing: bool = False) -> None:
        super().__init__()
        self.log, self.broken, self.closing, self.aborted = log, broken, closing, False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.broken:
            raise RuntimeError("unable to perform operation on a closed transport")
        self.log.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.aborted = True


async def test_what_one_turn_brings_is_written_in_order_in_the_next() -> None:
    log: list[bytes] = []
    outbox, one, other = Outbox(), Line(log), Line(log)
    for transport, data in ((one, b"1"), (other, b"2"), (one, b"3")):
        outbox.put(transport, data)
    assert log == []
    await asyncio.sleep(0)
    assert log == [b"1", b"2", b"3"]


async def test_a_broken_connection_keeps_no_other_waiting() -> None:
    log: list[bytes] = []
    outbox, broken = Outbox(), Line(log, broken=True)
    outbox.put(broken, b"1")
    outbox.put(Line(log, closing=True), b"2")
    outbox.put(Line(log), b"3")
    await asyncio.sleep(0)
    assert log == [b"3"]
    assert broken.aborted


async def test_what_is_written_now_is_not_written_again() -> None:
    log: list[bytes] = []
    outbox = Outbox()
    outbox.put(Line(log), b"1")
    outbox.flush()
    await asyncio.sleep(0)
    outbox.put(Line(log), b"2")
    await asyncio.sleep(0)
    assert log == [b"1", b"2"]
