"""HTTP/1.1 as the load tests speak it: a line to the server that sends whatever bytes it is given."""

from __future__ import annotations

import asyncio
import contextlib

HOST = "127.0.0.1"


class Broken(Exception):
    """The connection ended before the answer did."""


class Line:
    """A connection that is made when it is first used, and again after it broke."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def exchange(self, request: bytes) -> tuple[int, bytes]:
        """Sends a whole request; the status and body of its answer. Raises Broken, OSError."""
        reader, writer = await self._open()
        writer.write(request)
        return await self.answer(reader)

    async def answer(self, reader: asyncio.StreamReader) -> tuple[int, bytes]:
        """Reads an answer of known length. Raises Broken."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            length = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")), 0)
            body = await reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.LimitOverrunError) as error:
            await self.close()
            raise Broken from error
        if b"connection: close" in lines:
            await self.close()
        return int(head[9:12]), body

    async def open(self) -> asyncio.StreamWriter:
        """The connection's writing side, for bytes that are no request."""
        return (await self._open())[1]

    async def close(self) -> None:
        """Closes it, whatever is still to be sent."""
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].transport.abort()
            with contextlib.suppress(OSError):
                await streams[1].wait_closed()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(HOST, self.port)
        return self._streams
