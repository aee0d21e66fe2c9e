"""The protocol's model repository extension: what is there, and loading and unloading it while serving."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import quart
from quart import Blueprint, request

from models import Problem
from service.blueprints.admin_routes import who
from service.blueprints.answers import answer, visible
from service.context import service_of
from service.errors import BadRequest
from service.protocol import metadata

repository = Blueprint("repository", __name__, url_prefix="/v2/repository")


class _Body(msgspec.Struct):
    ready: bool = False
    parameters: Mapping[str, object] = {}


@repository.post("/index")
async def index() -> quart.Response:
    """Every model and version with its state, and why where it does not answer."""
    body = await _body()
    engine = service_of().engine
    entries = [entry for entry in engine.registry.index() if visible(entry.name)]
    return answer(metadata.repository_index(entries, body.ready, engine.settings.changed))


@repository.post("/models/<model:name>/load")
async def load(name: str) -> quart.Response:
    """Loads what the repository has of a model, or loads it again, in every worker; the old serves until the new is warm."""
    body = await _body()
    config = body.parameters.get("config")
    if config is not None and not isinstance(config, str):
        raise BadRequest("parameters.config is not a string; send model.toml's sections as a JSON object in a string")
    if config is not None:
        service_of().inference.content.check_json(config.encode())
    for parameter in body.parameters:
        if parameter.startswith("file:"):
            raise BadRequest(
                "files are not taken in a load; put them into the repository and load the model",
                Problem(f"parameters.{parameter}", "files are not taken"),
            )
        if parameter != "config":
            problem = Problem(f"parameters.{parameter[:80]}", "a load has no such parameter", "config", parameter[:80])
            raise BadRequest(f"{problem}", problem)
    await service_of().follower.load(name, config, who())
    return answer({})


@repository.post("/models/<model:name>/unload")
async def unload(name: str) -> quart.Response:
    """Takes a model out of service in every worker; what it has taken is answered first."""
    await _body()
    await service_of().follower.unload(name, who())
    return answer({})


async def _body() -> _Body:
    raw = await request.get_data(cache=False)
    if not raw:
        return _Body()
    service_of().inference.content.check_json(raw if isinstance(raw, bytes) else raw.encode())
    try:
        return msgspec.json.decode(raw, type=_Body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the body is not what this path takes: {error}; send nothing, or a JSON object") from error
