"""Refusing a request whose body nobody is going to look into, so that its client gets the answer.

A server that answers before it has read a request to its end can only close the connection, and what the client is still sending is
then answered by a reset, which may overtake the answer. So a small body is read first, and the connection is kept; with a large one
the answer goes out, and what comes is dropped for a while before the connection is closed.
"""

from __future__ import annotations

import asyncio
from typing import Final

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope

from service.response import Response

#: How much of a refused request's body is still read before the answer (bytes), and how long it is waited for (seconds).
SMALL: Final = 1024 * 1024
PATIENCE_S: Final = 1.0
#: How long what is sent to a connection that was answered is still read (seconds).
LINGER_S: Final = 1.0

#: The versions of HTTP in which a request that is not read to its end is the last of its connection.
ONE: Final = frozenset({"1.0", "1.1"})

_CLOSE: Final = b"connection: close\r\n"


async def refuse(response: Response, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Sends the response, reading no more of the body than that takes."""
    headers = dict(scope["headers"])
    length = headers.get(b"content-length", b"")
    waits = b"expect" in headers  # to be told to go on: it may have sent no body, and reading before the answer would tell it so
    large = length.isdigit() and int(length) > SMALL
    whole = not waits and not large and await drop(receive, SMALL, PATIENCE_S)
    if whole or scope["http_version"] not in ONE:
        await answer(response, send)
        return
    response.lines += _CLOSE
    await send({"type": "http.response.start", "status": response.status, "headers": response.headers})
    # The client has its whole answer with this; the connection stays until the last message. Who waits may have been told to go on
    # by the server, or may not have waited for long.
    await send({"type": "http.response.body", "body": response.body, "more_body": True})
    await drop(receive, None, LINGER_S)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def answer(response: Response, send: ASGISendCallable) -> None:
    """Sends a whole response."""
    await send({"type": "http.response.start", "status": response.status, "headers": response.headers})
    await send({"type": "http.response.body", "body": response.body, "more_body": False})


async def drop(receive: ASGIReceiveCallable, limit: int | None, seconds: float) -> bool:
    """Reads a body and keeps nothing; False where it has not ended after so many bytes, or seconds."""
    read = 0
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return True  # the client has left
                read += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return True
                if limit is not None and read > limit:
                    return False
    except TimeoutError:
        return False
