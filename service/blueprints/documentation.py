"""The API's documentation: OpenAPI of the models that answer now, and a page to read it, which asks no other host for anything."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from importlib.metadata import version as version_of

import msgspec
import quart
from quart import Blueprint, Quart, current_app
from quart.blueprints import BlueprintSetupState
from werkzeug.routing import Rule

from models import UnknownModel
from models.registry import Registry
from service import assets
from service.blueprints.answers import visible
from service.blueprints.files import NOSNIFF, page_headers, read, sent
from service.config import Config
from service.context import service_of
from service.engine import Served
from service.errors import UnknownPath
from service.guard.access import access_of
from service.openapi.document import document as openapi
from service.openapi.facts import Asked, Offer, Route
from service.published import Published, published

documentation = Blueprint("documentation", __name__)

#: Where an app's own document is kept.
EXTENSION = "tureen-documentation"
#: Documents that are kept, one for each set of models that some caller may use.
MOST = 16
#: Swagger UI draws its icons from data: URLs.
_PAGE = page_headers("'self' data:")
_DAY = {**NOSNIFF, "Cache-Control": "public, max-age=86400"}


class Kept:
    """The documents as they were last built, by the models that are in them, and from which versions. ``lock``: each is built
    once for all who ask meanwhile."""

    def __init__(self) -> None:
        self.served: list[Served] = []
        self.labels: list[dict[str, int]] = []
        self.documents: OrderedDict[frozenset[str], Published] = OrderedDict()
        self.lock = asyncio.Lock()

    def known(self, served: list[Served], labels: list[dict[str, int]], models: frozenset[str]) -> Published | None:
        """The document of those models, as long as these versions answer."""
        if list(map(id, served)) != list(map(id, self.served)) or labels != self.labels:
            self.served, self.labels = served, labels
            self.documents.clear()
            return None
        found = self.documents.get(models)
        if found is not None:
            self.documents.move_to_end(models)
        return found

    def keep(self, models: frozenset[str], document: Published) -> None:
        """One more; of too many the one that was not asked for longest goes."""
        self.documents[models] = document
        if len(self.documents) > MOST:
            self.documents.popitem(last=False)


@documentation.record
def keep(state: BlueprintSetupState) -> None:
    """Gives each app its own document."""
    state.app.extensions[EXTENSION] = Kept()


@documentation.get("/openapi.json")
async def document() -> quart.Response:
    """This document."""
    return sent(await _current(), {**NOSNIFF, "Cache-Control": "private, no-cache"}, "Accept-Encoding, Authorization, X-API-Key")


@documentation.get("/docs")
async def page() -> quart.Response:
    """This document as a page, to try things out."""
    return sent(await read(assets.asset, assets.PAGE), _PAGE)


@documentation.get("/docs/<segment:asset>")
async def asset_of(asset: str) -> quart.Response:
    """A part of that page."""
    if asset not in assets.ASSETS:
        raise UnknownPath(f"there is no such file; the page has {', '.join(sorted(assets.ASSETS))}")
    return sent(await read(assets.asset, asset), _DAY)


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
            None if each.recipe is None else each.recipe.spec.name,
        )
        for each, named in zip(served, labels, strict=True)
    ]


async def _current() -> Published:
    """What answers now and the caller may use; built in a thread, since that takes a while where there are many models."""
    kept: Kept = current_app.extensions[EXTENSION]
    service = service_of()
    engine = service.engine
    async with kept.lock:
        served = engine.versions()
        labels = [_labels(engine.registry, each.model) for each in served]
        models = frozenset(each.model for each in served if visible(each.model))
        found = kept.known(served, labels, models)
        if found is None:
            offers = [offer for offer in offers_of(served, labels) if offer.model in models]
            asked = asked_by(service.config)
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(engine.threads.calls, _built, routes_of(current_app), offers, asked)
            kept.keep(models, found)
        return found


def asked_by(config: Config) -> Asked:
    """What a server so configured asks of its callers."""
    limits = config.limits
    bounds = (limits.requests_per_s, limits.requests_per_day, limits.rows_per_s, limits.rows_per_day, limits.address_requests_per_s)
    # A key or a token may have a budget of its own.
    return Asked(config.auth.enabled, config.auth.enabled or any(bound is not None for bound in bounds))


def _labels(registry: Registry, model: str) -> dict[str, int]:
    try:
        return registry.labels(model)
    except UnknownModel:  # it left the repository, and will be unloaded
        return {}


def _built(routes: list[Route], offers: list[Offer], asked: Asked) -> Published:
    content = openapi(routes, offers, version_of("tureen"), asked)
    # Encoding holds the interpreter's lock: piece by piece, so that the loop has its turn between them.
    pieces = {key: {name: _encoded(part) for name, part in content[key].items()} for key in ("paths", "components")}
    return published(msgspec.json.encode({**content, **pieces}), "application/json")


def _encoded(part: dict[str, object]) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(msgspec.json.encode(piece)) for name, piece in part.items()}


def _route(rule: Rule, handler: Callable[..., object] | None) -> Route:
    words, module = getattr(handler, "__doc__", None) or "", getattr(handler, "__module__", None) or ""
    ours = module.partition(".")[0] == __name__.partition(".")[0]
    methods = frozenset(rule.methods or ())
    return Route(rule.rule, rule.endpoint, methods, words, ours, bool(rule.websocket), access_of(rule.endpoint, handler))
