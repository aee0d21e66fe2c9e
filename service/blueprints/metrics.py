"""What Prometheus scrapes."""

from __future__ import annotations

import quart
from quart import Blueprint, request

from service.blueprints.answers import answer_encoded
from service.context import service_of
from service.errors import UnknownPath
from service.protocol import coding

metrics = Blueprint("metrics", __name__)


@metrics.get("/metrics")
async def scrape() -> quart.Response:
    """The metrics of all workers, whichever of them is asked. Raises UnknownPath where nothing is counted."""
    exporter = service_of().exporter
    if exporter is None:
        raise UnknownPath("nothing is counted here; put enabled = true into [metrics] of tureen.toml, and start the server again")
    encoded = await exporter.scrape(request.headers.get("accept", ""))
    return answer_encoded(coding.code(encoded, request.headers.get("accept-encoding")))
