"""The models' pages: a list of them at ``/``, and each at ``/models/M``, where it can be tried out.

The page is one, the same for every path, and says nothing of any model: whatever it shows it asks for with its reader's key. So it
may be open to all like that of the documentation, for a browser that goes to an address brings no key.
"""

from __future__ import annotations

from typing import Final

import quart
from quart import Blueprint, request

from models import NotReady, UnknownVersion
from service import assets
from service.blueprints.answers import answer
from service.blueprints.files import NOSNIFF, page_headers, read, sent
from service.card import card
from service.context import service_of
from service.engine import Served
from service.errors import UnknownPath

pages = Blueprint("pages", __name__)

#: The longest Accept that is read (characters); of browsers' none has a quarter of it. A header full of types takes 10 ms.
ACCEPT: Final = 1024
#: Beside its own images it shows those that it was given, before they are sent.
_PAGE = page_headers("'self' blob:")
#: Its scripts are parts of one another: none may be older than the rest.
_PART = {**NOSNIFF, "Cache-Control": "no-cache"}


def wants_page() -> bool:
    """Whether who asks would have a page sooner than JSON, as browsers say and no client of the API does."""
    if len(request.headers.get("accept", "")) > ACCEPT:
        return False
    return request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"


async def front() -> quart.Response:
    """The page at the server's root."""
    return sent(await read(assets.models_page, ""), _PAGE, "Accept, Accept-Encoding")


@pages.get("/models/<model:name>")
async def page(name: str) -> quart.Response:
    """A model's page: what it is, and a place to try it out."""
    return sent(await read(assets.models_page, "../"), _PAGE)


@pages.get("/models/<model:name>/card")
async def card_of(name: str) -> quart.Response:
    """What the page shows of its model."""
    service = service_of()
    registry = service.engine.registry
    registry.require(name)
    entries = [entry for entry in registry.index() if entry.name == name]
    return answer(card(name, entries, registry.labels(name), _newest(name), service.config.limits))


@pages.get("/pages/<segment:asset>")
async def asset_of(asset: str) -> quart.Response:
    """A part of the models' pages."""
    if asset not in assets.MODELS_ASSETS:
        raise UnknownPath(f"there is no such file; the pages have {', '.join(sorted(assets.MODELS_ASSETS))}")
    return sent(await read(assets.asset, asset), _PART)


def _newest(name: str) -> Served | None:
    try:
        return service_of().engine.served(name)
    except (NotReady, UnknownVersion):
        return None
