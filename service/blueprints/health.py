"""Health: what orchestrators' probes ask. Live is the process; ready is everything loaded and warm."""

from __future__ import annotations

import quart
from quart import Blueprint

from service.blueprints.answers import answer
from service.context import service_of

health = Blueprint("health", __name__)


@health.get("/v2/health/live")
async def live() -> quart.Response:
    """Whether the process answers at all."""
    return answer({"live": True})


@health.get("/v2/health/ready")
@health.get("/readyz")
async def ready() -> quart.Response:
    """200 when what is wanted has been loaded and warmed up, 503 while it loads, drains, or a batcher is down."""
    is_ready = service_of().engine.ready
    return answer({"ready": is_ready}, 200 if is_ready else 503)


@health.get("/healthz")
async def healthz() -> quart.Response:
    """The usual name of ``live``."""
    return answer({"status": "ok"})


@health.get("/")
async def alive() -> quart.Response:
    """``live``, as KServe's V1 protocol asks for it."""
    return answer({"status": "alive"})
