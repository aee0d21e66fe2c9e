"""Health: what orchestrators' probes ask. Live is the process; ready is every worker, everything loaded and warm."""

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
    """200 when all workers serve, all that is wanted is loaded and warm; else 503, with which worker is not ready and why."""
    ailments = service_of().ailments()
    if not ailments:
        return answer({"ready": True})
    problems = [{"worker": ailment.worker, "pid": ailment.pid, "problem": ailment.problem} for ailment in ailments]
    return answer({"ready": False, "problems": problems}, 503)


@health.get("/healthz")
async def healthz() -> quart.Response:
    """The usual name of ``live``."""
    return answer({"status": "ok"})


@health.get("/")
async def alive() -> quart.Response:
    """``live``, as KServe's V1 protocol asks for it."""
    return answer({"status": "alive"})
