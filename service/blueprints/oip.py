"""The Open Inference Protocol: metadata, readiness, configuration, statistics, and infer."""

from __future__ import annotations

from importlib.metadata import version as version_of

import quart
from quart import Blueprint

from service import statistics
from service.blueprints.answers import answer, infer, visible
from service.blueprints.configuration import described
from service.context import service_of
from service.protocol import metadata

oip = Blueprint("oip", __name__, url_prefix="/v2")

oip.add_url_rule("/models/<model:name>/infer", "infer", infer, methods=["POST"])
oip.add_url_rule("/models/<model:name>/versions/<segment:version>/infer", "infer_version", infer, methods=["POST"])


@oip.get("")
@oip.get("/")
async def server() -> quart.Response:
    """What serves, and the extensions that work."""
    return answer(metadata.server_metadata("tureen", version_of("tureen")))


@oip.get("/models/<model:name>")
@oip.get("/models/<model:name>/versions/<segment:version>")
async def model(name: str, version: str | None = None) -> quart.Response:
    """A model's tensors and the versions that answer."""
    engine = service_of().engine
    served = engine.served(name, version)
    versions = [other.version for other in engine.versions() if other.model == name]
    return answer(metadata.model_metadata(name, versions, served.loaded.platform, served.signature))


@oip.get("/models/<model:name>/ready")
@oip.get("/models/<model:name>/versions/<segment:version>/ready")
async def ready(name: str, version: str | None = None) -> quart.Response:
    """200 when the model would answer from any worker, 503 when it is known and would not. Raises UnknownModel, and NotReady with
    the reason."""
    service = service_of()
    served = service.engine.served(name, version)
    behind = service.follower.behind(name)
    if served.batcher.healthy and not behind:
        return answer({"name": name, "ready": True})
    problems = [{"worker": its.slot, "pid": its.pid, "problem": its.reason} for its in behind]
    return answer({"name": name, "ready": False, "problems": problems}, 503)


@oip.get("/models/<model:name>/config")
@oip.get("/models/<model:name>/versions/<segment:version>/config")
async def config(name: str, version: str | None = None) -> quart.Response:
    """How the model is batched and versioned, in Triton's form; and what of that may be changed while it serves."""
    return answer(described(service_of().engine.served(name, version)))


@oip.get("/models/stats")
async def all_stats() -> quart.Response:
    """What every version has done since it was loaded, and the batches that it formed."""
    return answer(metadata.statistics(statistics.of(served) for served in service_of().engine.versions() if visible(served.model)))


@oip.get("/models/<model:name>/stats")
@oip.get("/models/<model:name>/versions/<segment:version>/stats")
async def stats(name: str, version: str | None = None) -> quart.Response:
    """The same for one model, or one version."""
    engine = service_of().engine
    named = engine.served(name, version)
    chosen = [named] if version is not None else [served for served in engine.versions() if served.model == name]
    return answer(metadata.statistics(map(statistics.of, chosen)))
