"""Published content as an answer: pages, their files, the document; each is sent once to whoever keeps it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import quart
from quart import request

from service.context import service_of
from service.published import Published

NOSNIFF: Final[Mapping[str, str]] = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


def page_headers(images: str) -> Mapping[str, str]:
    """A page of ours may use nothing but this origin's own files, and ``images`` of these sources: no inline script or style, no
    frame, no form, no other host."""
    policy = (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src {images}; connect-src 'self'; font-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return {
        **NOSNIFF,
        "Content-Security-Policy": policy,
        "Cross-Origin-Opener-Policy": "same-origin",
        "X-Frame-Options": "DENY",
        "Cache-Control": "no-cache",
    }


async def read(content: Callable[[str], Published], name: str) -> Published:
    """What that makes of the name, in a thread: a file is read and compressed when it is first asked for."""
    return await asyncio.get_running_loop().run_in_executor(service_of().engine.threads.calls, content, name)


def sent(content: Published, headers: Mapping[str, str], vary: str = "Accept-Encoding") -> quart.Response:
    """The content in the form that the caller takes, or word that it has it already."""
    told = {**headers, "ETag": content.etag, "Vary": vary}
    if request.if_none_match.contains_weak(content.etag.strip('"')):
        made = quart.Response(b"", 304, content_type=content.content_type)
    elif content.gzipped is not None and request.accept_encodings.quality("gzip") > 0:
        made = quart.Response(content.gzipped, content_type=content.content_type)
        told["Content-Encoding"] = "gzip"
    else:
        made = quart.Response(content.body, content_type=content.content_type)
    made.headers.update(told)
    return made
