"""The files of our own pages, and those of Swagger UI, which a package carries: no page of ours asks another host for anything."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources

from service.published import Published, published

_OURS, _VIEWER = ("service", "web/docs"), ("flask_swagger_ui", "dist")
#: Where each file lies, and its content type. Nothing else is ever read.
FILES: Mapping[str, tuple[tuple[str, str], str]] = {
    "docs.html": (_OURS, "text/html; charset=utf-8"),
    "docs.css": (_OURS, "text/css; charset=utf-8"),
    "docs.js": (_OURS, "text/javascript; charset=utf-8"),
    "swagger-ui.css": (_VIEWER, "text/css; charset=utf-8"),
    "swagger-ui-bundle.js": (_VIEWER, "text/javascript; charset=utf-8"),
    "favicon-32x32.png": (_VIEWER, "image/png"),
}
PAGE = "docs.html"
ASSETS = frozenset(FILES) - {PAGE}


@cache
def asset(name: str) -> Published:
    """One of FILES, read and compressed when first asked for. Raises KeyError for any other name."""
    (package, folder), content_type = FILES[name]
    return published((resources.files(package) / folder / name).read_bytes(), content_type)
