"""The bounds that Quart leaves open, for routes of ours and of users alike.

Views that are plain functions, and ``asyncio.to_thread``, run on the loop's default executor, which has cores + 4 threads: six slow
ones on a small machine would make every other wait.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qsl

import quart
from quart import Quart
from quart.datastructures import FileStorage
from quart.formparser import FormDataParser, ParserFunc
from quart.json.provider import DefaultJSONProvider
from quart.wrappers.request import Body
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import RequestEntityTooLarge

from service.connections import websockets
from service.errors import BadRequest
from service.guard.input.content import Content
from service.guard.limited import Limited
from service.sections import Limits

#: A key of ``app.config``: how many plain functions may run at once.
SYNC_THREADS = "SYNC_THREADS"
#: What a form may have beside files: bytes, and fields.
FORM_BYTES, FORM_PARTS = 500_000, 1000


class Json(DefaultJSONProvider):
    """Quart's JSON, to which a document that is nested deeper than ``depth`` is a wrong one and no failure of the server."""

    def __init__(self, app: Quart, depth: int, limited: Limited) -> None:
        super().__init__(app)
        self._content = Content(depth)
        self._limited = limited

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """Raises ValueError for all that cannot be read."""
        try:
            self._content.check_json(s.encode(errors="surrogatepass") if isinstance(s, str) else s)
        except BadRequest as error:
            self._limited.count(error.limit)
            raise ValueError(str(error)) from None
        return super().loads(s, **kwargs)


class Forms(FormDataParser):
    """Quart's reader of forms; an urlencoded one too has no more text and no more fields than a multipart one may."""

    def get_parse_func(self, mimetype: str, options: dict[str, str]) -> ParserFunc | None:
        """What reads a form of that kind."""
        found = super().get_parse_func(mimetype, options)
        return _read_urlencoded if found is not None and mimetype != "multipart/form-data" else found


async def _read_urlencoded(
    forms: FormDataParser, body: Body, mimetype: str, content_length: int | None, options: dict[str, str]
) -> tuple[MultiDict[str, str], MultiDict[str, FileStorage]]:
    data = await body
    bytes_over = forms.max_form_memory_size is not None and len(data) > forms.max_form_memory_size
    if bytes_over or (forms.max_form_parts is not None and data.count(b"&") >= forms.max_form_parts):
        raise RequestEntityTooLarge
    made = forms.cls or MultiDict
    return made(parse_qsl(data.decode(), keep_blank_values=True)), made()


class Request(quart.Request):
    """A request of the app's."""

    form_data_parser_class = Forms


def keep_bounds(app: Quart, limits: Limits, limited: Limited) -> None:
    """Sets them; those in ``app.config`` may be changed until the app is served."""
    app.config.update({SYNC_THREADS: 64, **websockets.defaults(limits)})
    app.config["MAX_CONTENT_LENGTH"] = limits.body_bytes
    app.config["BODY_TIMEOUT"] = None  # connections have theirs: a large body may take its time, a slow one may not
    app.config["MAX_FORM_MEMORY_SIZE"] = min(FORM_BYTES, limits.body_bytes)
    app.config["MAX_FORM_PARTS"] = FORM_PARTS
    app.request_class = Request
    app.json = Json(app, limits.json_depth, limited)
    app.asgi_websocket_class = websockets.BoundedWebsocket

    @app.before_serving
    async def have_threads() -> None:
        threads = ThreadPoolExecutor(app.config[SYNC_THREADS], thread_name_prefix="tureen-sync")
        asyncio.get_running_loop().set_default_executor(threads)
