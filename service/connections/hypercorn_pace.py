"""Hypercorn's HTTP/2, ended where a client keeps the server busy for nothing, or waiting.

Pings, settings, priorities and empty frames are answered or looked at for next to nothing; a request may come a byte at a time; and
a client that never opens its window keeps an answer for each of its streams.
"""

from __future__ import annotations

from asyncio import get_running_loop
from contextlib import suppress
from typing import Any, Final

import h2.errors
import h2.events
from h2.exceptions import ProtocolError
from hypercorn.protocol.events import Body, EndBody, Response

from service.connections.hypercorn_http2 import Http2
from service.connections.hypercorn_stream import Refused, Stream
from service.errors import BodyTooLarge, ServiceError

#: Of control frames, so many seconds' worth may come at once.
BURST_S: Final = 2.0

_CONTROL: Final = (
    h2.events.PingReceived,
    h2.events.RemoteSettingsChanged,
    h2.events.PriorityUpdated,
    h2.events.UnknownFrameReceived,
)


class PacedHttp2(Http2):
    """A connection's HTTP/2, which is not kept busy for nothing, nor waits for ever."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._control_due = 0.0
        self._sent_at: dict[int, float] = {}

    # -- what comes --------------------------------------------------------------------------------------------------------------

    async def _handle_events(self, events: list[h2.events.Event]) -> None:
        control = sum(isinstance(event, _CONTROL) or _is_empty(event) for event in events)
        if control and not self._admits(control):
            self.inference.limited.count("http2_control_per_s")
            await self.calm()
            return
        await super()._handle_events(events)
        if any(isinstance(event, h2.events.DataReceived) for event in events):
            for stream in list(self.streams.values()):
                if isinstance(stream, Stream) and stream.small > self.inference.limits.body_chunks:
                    why = f"the body comes in more than {self.inference.limits.body_chunks} small frames; send longer ones"
                    await self.expire(stream, BodyTooLarge(why, limit="body_chunks"))

    def _admits(self, frames: int) -> bool:
        """Whether so many control frames more may come now: the generic cell rate algorithm (ITU-T I.371)."""
        now = get_running_loop().time()
        due = max(self._control_due, now) + frames / self.inference.limits.http2_control_per_s
        if due > now + BURST_S:
            return False
        self._control_due = due
        return True

    # -- what goes ---------------------------------------------------------------------------------------------------------------

    async def _send_data(self, stream_id: int) -> None:
        buffer = self.stream_buffers.get(stream_id)
        before = 0 if buffer is None else len(buffer.buffer)
        await super()._send_data(stream_id)
        if buffer is not None and 0 < len(buffer.buffer) < before:
            self._sent_at[stream_id] = get_running_loop().time()

    def is_unread(self, now: float, for_s: float) -> bool:
        """Whether a stream's client has let nothing of its answer come for that time (seconds)."""
        waiting = {number for number, buffer in self.stream_buffers.items() if buffer.buffer}
        self._sent_at = {number: self._sent_at.get(number, now) for number in waiting}
        return any(now - at >= for_s for at in self._sent_at.values())

    # -- ends --------------------------------------------------------------------------------------------------------------------

    async def expire(self, stream: Stream, error: ServiceError) -> None:
        """Ends a request that takes too long: with an answer where there was none, and then for its client."""
        number, unanswered = stream.stream_id, stream.state.name == "REQUEST"
        response = self.inference.turned_away(error)
        await self._close_stream(number)
        if unanswered:
            await self.stream_send(Response(stream_id=number, headers=response.headers, status_code=response.status))
            self.task_group.spawn(self._finish, number, response.body)
        else:
            await self._reset(number)

    async def _finish(self, number: int, body: bytes) -> None:
        await self.stream_send(Body(stream_id=number, data=body))
        await self.stream_send(EndBody(stream_id=number))
        await self._reset(number)

    async def _reset(self, number: int) -> None:
        with suppress(ProtocolError):  # it has ended by itself
            self.connection.reset_stream(number, h2.errors.ErrorCodes.NO_ERROR)
            await self._flush()

    async def calm(self) -> None:
        """Ends the connection, and says why."""
        with suppress(ProtocolError):
            self.connection.close_connection(h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)
            await self._flush()
        await self.send(Refused())


def _is_empty(event: h2.events.Event) -> bool:
    return isinstance(event, h2.events.DataReceived) and not event.data and event.stream_ended is None
