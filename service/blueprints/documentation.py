"""The API's documentation: OpenAPI of the models that answer now, and a page to read it, which asks no other host for anything."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.metadata import version as version_of

import msgspec
import quart
from quart import Blueprint, Quart, current_app, request
from quart.blueprints import BlueprintSetupState
from werkzeug.routing import Rule

from models import UnknownModel
from models.registry import Registry
from service.assets import ASSETS, PAGE, asset
from service.context import service_of
from service.engine import Served
from service.errors import UnknownPath
from service.openapi.document import document as openapi
from service.openapi.facts import Offer, Route
from service.published import Published, published

documentation = Blueprint("documentation", __name__)

#: Where an app's own document is kept.
EXTENSION = "tureen-documentation"
_NOSNIFF = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
#: Swagger UI draws its icons from data: URLs; beside that, nothing but this origin's own files.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE = {
    **_NOSNIFF,
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-cache",
}
_DAY = {**_NOSNIFF, "Cache-Control": "public, max-age=86400"}


class Kept:
    """The document as it was last built, and from which versions; ``lock``: it is built once for all who ask meanwhile."""

    def __init__(self) -> None:
        self.served: list[Served] = []
        self.labels: list[dict[str, int]] = []
        self.document: Published | None = None
        self.lock = asyncio.Lock()


@documentation.record
def keep(state: BlueprintSetupState) -> None:
    """Gives each app its own document."""
    state.app.extensions[EXTENSION] = Kept()


@documentation.get("/openapi.json")
async def document() -> quart.Response:
    """This document."""
    return _sent(await _current(), {**_NOSNIFF, "Cache-Control": "no-cache"})


@documentation.get("/docs")
async def page() -> quart.Response:
    """This document as a page, to try things out."""
    return _sent(await _read(PAGE), _PAGE)


@documentation.get("/docs/<segment:asset>")
async def asset_of(asset: str) -> quart.Response:
    """A part of that page."""
    if asset not in ASSETS:
        raise UnknownPath(f"there is no such file; the page has {', '.join(sorted(ASSETS))}")
    return _sent(await _read(asset), _DAY)


def routes_of(app: Quart) -> list[Route]:
    """Every route of an app; those whose handlers are this package's are Tureen's own."""
    return [_route(rule, app.view_functions.get(rule.endpoint)) for rule in app.url_map.iter_rules() if not rule.build_only]


def offers_of(served: list[Served], labels: list[dict[str, int]]) -> list[Offer]:
    """What answers, with its labels; ``served`` is sorted by model and version."""
    newest = {each.model: each.version for each in served}
    return [
        Offer(
            each.model,
            each.version,
            each.signature,
            newest[each.model] == each.version,
            tuple(sorted(label for label, version in named.items() if version == int(each.version))),
        )
        for each, named in zip(served, labels, strict=True)
    ]


async def _current() -> Published:
    """The document of what answers now; built in a thread, since that takes a while where there are many models."""
    kept: Kept = current_app.extensions[EXTENSION]
    engine = service_of().engine
    async with kept.lock:
        served = engine.versions()
        labels = [_labels(engine.registry, each.model) for each in served]
        if kept.document is None or list(map(id, served)) != list(map(id, kept.served)) or labels != kept.labels:
            routes = routes_of(current_app)
            offers = offers_of(served, labels)
            kept.document = await asyncio.get_running_loop().run_in_executor(engine.pool, _built, routes, offers)
            kept.served, kept.labels = served, labels
        return kept.document


def _labels(registry: Registry, model: str) -> dict[str, int]:
    try:
        return registry.labels(model)
    except UnknownModel:  # it left the repository, and will be unloaded
        return {}


def _built(routes: list[Route], offers: list[Offer]) -> Published:
    content = openapi(routes, offers, version_of("tureen"))
    # Encoding holds the interpreter's lock: piece by piece, so that the loop has its turn between them.
    pieces = {key: {name: _encoded(part) for name, part in content[key].items()} for key in ("paths", "components")}
    return published(msgspec.json.encode({**content, **pieces}), "application/json")


def _encoded(part: dict[str, object]) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(msgspec.json.encode(piece)) for name, piece in part.items()}


def _route(rule: Rule, handler: Callable[..., object] | None) -> Route:
    words, module = getattr(handler, "__doc__", None) or "", getattr(handler, "__module__", None) or ""
    ours = module.partition(".")[0] == __name__.partition(".")[0]
    return Route(rule.rule, rule.endpoint, frozenset(rule.methods or ()), words, ours, bool(rule.websocket))


async def _read(name: str) -> Published:
    return await asyncio.get_running_loop().run_in_executor(service_of().engine.pool, asset, name)


def _sent(content: Published, headers: dict[str, str]) -> quart.Response:
    """The content in the form that the caller takes, or word that it has it already."""
    told = {**headers, "ETag": content.etag, "Vary": "Accept-Encoding"}
    if request.if_none_match.contains_weak(content.etag.strip('"')):
        made = quart.Response(b"", 304, content_type=content.content_type)
    elif content.gzipped is not None and request.accept_encodings.quality("gzip") > 0:
        made = quart.Response(content.gzipped, content_type=content.content_type)
        told["Content-Encoding"] = "gzip"
    else:
        made = quart.Response(content.body, content_type=content.content_type)
    made.headers.update(told)
    return made
