"""How a model is served, and changing that while it serves."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import quart
from quart import Blueprint, request

from models import Problem
from models.live import SECTIONS, shown
from service.blueprints.admin_routes import who
from service.blueprints.answers import answer
from service.context import service_of
from service.engine import Served
from service.errors import BadRequest
from service.protocol import metadata
from service.protocol.metadata import Json

configuration = Blueprint("configuration", __name__, url_prefix="/v1/models")


@configuration.patch("/<model:name>/config")
async def configure(name: str) -> quart.Response:
    """Changes keys of a model's batching, cache and limits in every worker, without a load; null puts one back."""
    service = service_of()
    change = await _body()
    served = service.engine.served(name)
    if isinstance(change, dict):
        change = _without_what_is_shown(change, described(served))
    await service.follower.configure(name, change, who())
    return answer(described(service.engine.served(name)))


def described(served: Served) -> Json:
    """How a version is served: Triton's form, and beside it the sections that may be changed, and what of them was."""
    settings = service_of().engine.settings
    policy, versions = served.batcher.policy, served.loaded.manifest.versions
    return metadata.model_config(
        served.model,
        served.loaded.platform,
        served.signature,
        max_rows=policy.max_rows,
        window_ms=policy.window_ms,
        instances=policy.instances,
        policy=versions.policy,
        latest=versions.latest,
        sections={**shown(settings.of(served.loaded)), "changed": settings.changed.get(served.model, {})},
    )


def _without_what_is_shown(change: Mapping[str, object], current: Json) -> dict[str, object]:
    """A change as it was meant by who sends back what he was shown. Raises BadRequest for what cannot be changed there."""
    told = [section for section in change if section in current and section not in SECTIONS]
    problems = [
        Problem(section, "is told, and cannot be changed; change a key of the sections " + ", ".join(SECTIONS))
        for section in told
        if change[section] != current[section]
    ]
    if problems:
        raise BadRequest("; ".join(map(str, problems)), *problems)
    return {section: keys for section, keys in change.items() if section not in told}


async def _body() -> object:
    raw = await request.get_data(cache=False)
    service_of().inference.content.check_json(raw if isinstance(raw, bytes) else raw.encode())
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f'the body is no JSON: {error}; send an object such as {{"batching": {{"max_rows": 32}}}}') from error
