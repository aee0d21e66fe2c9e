"""The files of our own pages, and those of Swagger UI, which a package carries: no page of ours asks another host for anything."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources

from service.published import Published, published

_DOCS, _VIEWER, _MODELS = ("service", "web/docs"), ("flask_swagger_ui", "dist"), ("service", "web/pages")
_HTML, _CSS, _SCRIPT = "text/html; charset=utf-8", "text/css; charset=utf-8", "text/javascript; charset=utf-8"
#: Where each file lies, and its content type. Nothing else is ever read.
FILES: Mapping[str, tuple[tuple[str, str], str]] = {
    "docs.html": (_DOCS, _HTML),
    "docs.css": (_DOCS, _CSS),
    "docs.js": (_DOCS, _SCRIPT),
    "swagger-ui.css": (_VIEWER, _CSS),
    "swagger-ui-bundle.js": (_VIEWER, _SCRIPT),
    "favicon-32x32.png": (_VIEWER, "image/png"),
    "models.html": (_MODELS, _HTML),
    "models.css": (_MODELS, _CSS),
    "tureen.svg": (_MODELS, "image/svg+xml"),
    # The page's script, and the modules that it is made of.
    **{f"{name}.js": (_MODELS, _SCRIPT) for name in ("page", "server", "elements", "card", "images", "answers", "drawing")},
}
PAGE, MODELS_PAGE = "docs.html", "models.html"
ASSETS = frozenset(name for name, (place, _) in FILES.items() if place is not _MODELS) - {PAGE}
MODELS_ASSETS = frozenset(FILES) - ASSETS - {PAGE, MODELS_PAGE}


@cache
def asset(name: str) -> Published:
    """One of FILES, read and compressed when first asked for. Raises KeyError for any other name."""
    return published(_read(name), FILES[name][1])


@cache
def models_page(root: str) -> Published:
    """The page of the models, at a path from which the server's root is at ``root``: a proxy may have put the server below another
    path, so that no address in it begins with a slash."""
    return published(_read(MODELS_PAGE).replace(b"{{ root }}", root.encode()), FILES[MODELS_PAGE][1])


def _read(name: str) -> bytes:
    (package, folder), _ = FILES[name]
    return (resources.files(package) / folder / name).read_bytes()
