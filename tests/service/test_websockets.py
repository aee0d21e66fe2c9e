"""What waits for a WebSocket's handler, and how a connection ends; over the ASGI interface, without a server."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from quart import Quart, websocket

from service import Config, create_app
from service.connections import websockets
from service.connections.websockets import Inbox

MESSAGES = st.lists(st.binary(max_size=300) | st.text(max_size=100), max_size=50)


@given(MESSAGES, st.integers(1, 2000))
def test_what_waits_is_bounded_and_comes_out_as_it_went_in(messages: list[bytes | str], limit: int) -> None:
    async def check() -> list[bytes | str]:
        inbox = Inbox(limit)

        async def fill() -> None:
            for message in messages:
                await inbox.put(message)

        filling = asyncio.create_task(fill())
        read = []
        for _ in messages:
            await asyncio.sleep(0)
            assert inbox.nbytes < limit + max(map(sys.getsizeof, messages))
            read.append(await inbox.get())
        await filling
        assert inbox.nbytes == 0
        return read

    assert asyncio.run(check()) == messages


class Conversation:
    """A server's side of one connection: gives what the client is meant to send, keeps what it is sent."""

    def __init__(self, app: Quart, *events: dict[str, object]) -> None:
        self.sent: list[Any] = []
        self._events = [{"type": "websocket.connect"}, *events]
        self._app = app

    async def run(self) -> None:
        """The whole of it; when there are no more events, the client waits."""
        scope: Any = {
            "type": "websocket",
            "asgi": {"spec_version": "2.3", "version": "3.0"},
            "path": "/talk",
            "query_string": b"",
            "scheme": "ws",
            "headers": [(b"host", b"tureen")],
            "http_version": "1.1",
            "subprotocols": [],
            "extensions": {},
        }
        await self._app(scope, self._receive, self._send)

    async def _receive(self) -> Any:
        if self._events:
            return self._events.pop(0)
        if any(event["type"] == "websocket.close" for event in self.sent):
            return {"type": "websocket.disconnect", "code": 1000}
        return await asyncio.get_running_loop().create_future()

    async def _send(self, event: object) -> None:
        self.sent.append(event)


async def test_an_empty_message_is_not_taken_for_none(tmp_path: Path) -> None:
    app = create_app(Config(repository=tmp_path))

    @app.websocket("/talk")
    async def talk() -> None:
        for _ in range(2):
            await websocket.send(repr(await websocket.receive()))

    empty: list[dict[str, object]] = [
        {"type": "websocket.receive", "bytes": b"", "text": None},
        {"type": "websocket.receive", "bytes": None, "text": ""},
    ]
    conversation = Conversation(app, *empty)
    await conversation.run()
    assert [event["text"] for event in conversation.sent if event["type"] == "websocket.send"] == ["b''", "''"]


async def test_dismissal_tells_the_client_and_ends_the_handler(tmp_path: Path) -> None:
    app = create_app(Config(repository=tmp_path))
    talking, ended = asyncio.Event(), asyncio.Event()

    @app.websocket("/talk")
    async def talk() -> None:
        await websocket.accept()
        talking.set()
        try:
            await websocket.receive()
        finally:
            ended.set()

    conversation = Conversation(app)
    running = asyncio.create_task(conversation.run())
    await talking.wait()
    websockets.dismiss(app)
    await running
    assert ended.is_set()
    assert conversation.sent[-1] == {"type": "websocket.close", "code": 1001, "reason": "the server stops"}
