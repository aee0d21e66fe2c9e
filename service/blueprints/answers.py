"""Between Quart's request and response and ours."""

from __future__ import annotations

import quart
from quart import request

from service.context import service_of
from service.protocol.infer import Encoded
from service.request import Request
from service.response import Header, Response, lines, request_id, response
from service.routing import target


def asked() -> quart.Request | quart.Websocket:
    """What runs: a request, or a WebSocket's handshake, which may be refused like one."""
    running: quart.Request | quart.Websocket = request if quart.has_request_context() else quart.websocket
    return running


def name() -> str:
    """The running request's id: the caller's, or one made on first use."""
    known: str | None = quart.g.get("request_id")
    if known is None:
        given = asked().headers.get("x-request-id")
        known = quart.g.request_id = request_id(None if given is None else given.encode("latin-1", "replace"))
    return known


def answer(content: object, status: int = 200, headers: tuple[Header, ...] = ()) -> quart.Response:
    """A JSON answer."""
    return as_quart(response(status, content, name(), headers))


def answer_encoded(encoded: Encoded) -> quart.Response:
    """An answer whose body a protocol has written."""
    length = (b"content-length", b"%d" % len(encoded.body))
    headers = [(b"content-type", encoded.content_type), length, (b"x-request-id", name().encode("latin-1"))]
    return as_quart(Response(200, encoded.body, lines((*headers, *encoded.headers))))


def as_quart(ours: Response) -> quart.Response:
    """Our response as Quart's."""
    made = quart.Response(ours.body, ours.status)
    made.headers.clear()
    for key, value in ours.headers:
        made.headers.add(key.decode("latin-1"), value.decode("latin-1"))
    return made


async def infer(**_: str) -> quart.Response:
    """Answers the running inference request, exactly as the express lane does, which reads the path itself."""
    found = target(request.path)
    if found is None:
        quart.abort(404)
    headers = {key.lower().encode("latin-1"): value.encode("latin-1") for key, value in request.headers.items()}
    headers[b"x-request-id"] = name().encode("latin-1")
    body = await request.get_data(cache=False)
    quart.g.told = True
    if isinstance(body, str):  # only as_text=True gives one
        body = body.encode()
    return as_quart(await service_of().inference.answer(Request(found, headers, body)))
