"""Where a browser's page came from, and whether it may act here: RFC 6454's origins, compared whole."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from urllib.parse import urlsplit

from service.errors import Forbidden

_PORTS = {"http": 80, "https": 443}
# What urlsplit makes of more than a host and a port is not what a browser makes of it.
_HOST = re.compile(r"(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?", re.ASCII | re.IGNORECASE)


def admit(headers: Sequence[tuple[bytes, bytes]], secure: bool, allowed: Collection[str], deed: str) -> None:
    """Raises Forbidden where such headers, in lower case, come from a foreign page, which may not do that ``deed``."""
    origins = [value.decode("latin-1") for name, value in headers if name == b"origin"]
    hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
    if foreign(origins, hosts[0] if len(hosts) == 1 else None, secure, allowed):
        raise Forbidden(f"pages of this origin may not {deed} here; [cors] allow_origins names those that may")


def foreign(origins: Sequence[str], host: str | None, secure: bool, allowed: Collection[str]) -> bool:
    """Whether a request comes from a page of another site than this one and those that are ``allowed``.

    ``origins`` are the request's Origin headers: none says that no browser sent it, or that the page is our own. ``secure``:
    it came by TLS. A plain one may have had a proxy in front that ended its TLS, so there the page's scheme says nothing.
    """
    if not origins:
        return False
    if len(origins) > 1 or host is None:
        return True
    (origin,) = origins
    return origin not in allowed and not _same(origin, host, secure)


def _same(origin: str, host: str, secure: bool) -> bool:
    try:
        page = urlsplit(origin)
        here = urlsplit(f"//{host}")
        port = _PORTS[page.scheme]
        ports = page.port or port, here.port or port
    except (ValueError, KeyError):
        return False
    if origin != f"{page.scheme}://{page.netloc}" or _HOST.fullmatch(page.netloc) is None:
        return False
    if _HOST.fullmatch(host) is None:
        return False
    if secure and page.scheme != "https":
        return False
    return bool(page.hostname) and page.hostname == here.hostname and ports[0] == ports[1]
