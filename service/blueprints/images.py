"""Encoded images to labels."""

from __future__ import annotations

from quart import Blueprint

from service.blueprints.answers import infer

images = Blueprint("images", __name__, url_prefix="/v1/models")

images.add_url_rule("/<model:name>:classify", "classify", infer, methods=["POST"])
images.add_url_rule("/<model:name>/versions/<segment:version>:classify", "classify_version", infer, methods=["POST"])
images.add_url_rule("/<model:name>/labels/<segment:label>:classify", "classify_label", infer, methods=["POST"])
