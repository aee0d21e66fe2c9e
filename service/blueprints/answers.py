"""Between Quart's request and response and ours."""

from __future__ import annotations

import quart
from quart import request

from service.context import service_of
from service.guard.gate import Grant
from service.lane.heads import SECRET
from service.protocol.infer import Encoded
from service.request import Request, fields
from service.response import PRIVATE, Header, Response, lines, request_id, response
from service.routing import target


def asked() -> quart.Request | quart.Websocket:
    """What runs: a request, or a WebSocket's handshake, which may be refused like one."""
    running: quart.Request | quart.Websocket = request if quart.has_request_context() else quart.websocket
    return running


def name() -> str:
    """The running request's id: the caller's, or one made on first use."""
    known: str | None = quart.g.get("request_id")
    if known is None:
        given = asked().headers.getlist("x-request-id")[-1:]  # the last, as in the lanes
        known = quart.g.request_id = request_id(given[0].encode("latin-1", "replace") if given else None)
    return known


def answer(content: object, status: int = 200, headers: tuple[Header, ...] = ()) -> quart.Response:
    """A JSON answer."""
    return as_quart(response(status, content, name(), headers))


def answer_encoded(encoded: Encoded) -> quart.Response:
    """An answer whose body a protocol has written."""
    length = (b"content-length", b"%d" % len(encoded.body))
    headers = [(b"content-type", encoded.content_type), length, (b"x-request-id", name().encode("latin-1"))]
    return as_quart(Response(200, encoded.body, lines((*headers, *PRIVATE, *encoded.headers))))


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
    body = await request.get_data(cache=False)
    quart.g.told = True
    if isinstance(body, str):  # only as_text=True gives one
        body = body.encode()
    asked = Request(found, headers(), body, request.query_string)
    asked.principal, asked.grant = quart.g.principal, quart.g.grant
    return as_quart(await service_of().inference.answer(asked))


def headers() -> dict[bytes, bytes]:
    """The running request's headers but for its credential, which the gate has judged."""
    found = fields([(key.lower().encode("latin-1"), value.encode("latin-1")) for key, value in request.headers.items()])
    found[b"x-request-id"] = name().encode("latin-1")
    return {key: value for key, value in found.items() if key not in SECRET}


def grant() -> Grant:
    """What the running request was let in with."""
    found: Grant = quart.g.grant
    return found


def visible(model: str) -> bool:
    """Whether whoever asks may know of a model."""
    models = grant().principal.models
    return models is None or model in models
