"""TensorFlow Serving's REST form: predict, model status, metadata."""

from __future__ import annotations

import quart
from quart import Blueprint

from service.blueprints.answers import answer_encoded, infer
from service.context import service_of
from service.protocol import tfserving as protocol

tfserving = Blueprint("tfserving", __name__, url_prefix="/v1/models")

tfserving.add_url_rule("/<model:name>:predict", "predict", infer, methods=["POST"])
tfserving.add_url_rule("/<model:name>/versions/<segment:version>:predict", "predict_version", infer, methods=["POST"])
tfserving.add_url_rule("/<model:name>/labels/<segment:label>:predict", "predict_label", infer, methods=["POST"])


@tfserving.get("/<model:name>")
@tfserving.get("/<model:name>/versions/<segment:version>")
@tfserving.get("/<model:name>/labels/<segment:label>")
async def status(name: str, version: str | None = None, label: str | None = None) -> quart.Response:
    """The versions of a model and their states."""
    engine = service_of().engine
    if version is not None or label is not None:
        served = engine.served(name, version, label)
        return answer_encoded(protocol.status([(served.version, "READY", "")]))
    engine.registry.require(name)
    entries = [entry for entry in engine.registry.index() if entry.name == name and entry.version is not None]
    return answer_encoded(protocol.status(((str(entry.version), entry.state, entry.reason) for entry in entries), name))


@tfserving.get("/<model:name>/metadata")
@tfserving.get("/<model:name>/versions/<segment:version>/metadata")
@tfserving.get("/<model:name>/labels/<segment:label>/metadata")
async def metadata(name: str, version: str | None = None, label: str | None = None) -> quart.Response:
    """The model's signature."""
    served = service_of().engine.served(name, version, label)
    return answer_encoded(protocol.metadata(served.model, served.version, served.signature))
