"""uvicorn's WebSockets: a message over its limit is refused before it is read, and so is what comes before the handshake's answer,
which uvicorn would keep without bound.
"""

from __future__ import annotations

from uvicorn.protocols.websockets.wsproto_impl import WSProtocol
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection
from wsproto.frame_protocol import CloseReason

from service.connections.lingering import CLOSE_S, LINGER_BYTES
from service.guard.input.frames import Frames
from service.guard.limited import Limited


class WebSocketProtocol(WSProtocol):
    """One WebSocket. ``websocket_protocol`` sets what is counted in, and the most bytes of a message."""

    limited: Limited
    most: int
    asked = False
    over = False
    dropped = 0
    frames: Frames

    def data_received(self, data: bytes) -> None:
        """The handshake, which has been judged, and then frames."""
        if self.over:
            self.dropped += len(data)
            if self.dropped > LINGER_BYTES and not self.transport.is_closing():
                self.transport.pause_reading()
            return
        if not self.asked:
            self.asked = True
            self.frames = Frames(self.most)
            super().data_received(data)
        elif not self.handshake_complete:  # RFC 6455, 4.1: a client waits
            self.transport.close()
        else:
            may = self.frames.judge(data)
            if may:
                super().data_received(data[:may])
            if may < len(data) and not self.close_sent and not self.disconnected:
                self.limited.count("websocket_message_bytes")
                self._part(CloseReason.MESSAGE_TOO_BIG, "")

    def handle_close(self, event: CloseConnection) -> None:
        """The client closes, or sends what is no frame."""
        if self.conn.state is ConnectionState.OPEN and not self.close_sent:
            self._part(event.code, event.reason or "")
        else:
            super().handle_close(event)

    def _part(self, code: int, reason: str) -> None:
        self.over = self.close_sent = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        if self.transport.is_closing():
            return
        self.transport.write(self.conn.send(CloseConnection(code=code)))
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        # Closed at once, what the peer is still sending would be answered by a reset, which may overtake the close frame.
        self.close_timer = self.loop.call_later(CLOSE_S, self.transport.close)
