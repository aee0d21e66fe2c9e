"""Health: what orchestrators' probes ask. Live is the process; ready is every worker, everything loaded and warm.

Mostly the express lane answers (``service.lane.probes``), and these where a user's hooks have to run.
"""

from __future__ import annotations

import quart
from quart import Blueprint

from service.blueprints.answers import answer
from service.blueprints.pages import front, wants_page
from service.context import service_of
from service.lane.probes import LIVE, readiness

health = Blueprint("health", __name__)


@health.get("/v2/health/live")
async def live() -> quart.Response:
    """Whether the process answers at all."""
    return answer(LIVE["/v2/health/live"])


@health.get("/v2/health/ready")
@health.get("/readyz")
async def ready() -> quart.Response:
    """200 when all workers serve, all that is wanted is loaded and warm; else 503, with which worker is not ready and why."""
    return answer(*readiness(service_of().ailments()))


@health.get("/healthz")
async def healthz() -> quart.Response:
    """The usual name of ``live``."""
    return answer(LIVE["/healthz"])


@health.get("/")
async def alive() -> quart.Response:
    """``live``, as KServe's V1 protocol asks for it; a browser is shown the models instead."""
    return await front() if wants_page() else answer({"status": "alive"}, headers=((b"vary", b"Accept"),))
