"""uvicorn's flow control, which knows for how long it is the server that does not read."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.flow_control import FlowControl

from service.connections.clock import ReadingClock


class Flow(FlowControl):
    """uvicorn's, which stops a clock while nothing is read."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(transport)
        self.clock = ReadingClock(loop)

    def pause_reading(self) -> None:
        """Nothing more is read."""
        self.clock.stop()
        super().pause_reading()

    def resume_reading(self) -> None:
        """It is again."""
        if self.read_paused:
            self.clock.go()
            super().resume_reading()
