"""Requests of encoded images and their answers: the same for every model that takes them, but for its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from models.signature import Signature
from service.openapi.inference import Exchange
from service.openapi.schema import BINARY, COUNT, NUMBER, TEXT, VERSION, Json, array, either, record, ref, said

#: A white pixel.
_PNG: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsTj2FAAAAABJRU5ErkJggg=="

_CLASS: Final = record(
    {
        "label": said(TEXT, "By `labels.txt`; the index as text where there is none."),
        "index": COUNT,
        "score": said(NUMBER, "As the model's `[image] scores` makes it of what the model gives."),
    }
)
_PREDICTION: Final = record(
    {
        "name": said(TEXT, "The file's, or as the request has it."),
        "width": said(COUNT, "Of the image as it is looked at, upright, in pixels."),
        "height": COUNT,
        "status": {"const": 200},
        "classes": said(array(_CLASS), "The best first."),
    }
)
_FAILED: Final = record(
    {"name": TEXT, "error": TEXT, "code": TEXT, "status": COUNT},
    description="Of several images one that is bad, as errors tell of it.",
)
_ENCODED: Final = record(
    {"b64": {"type": "string", "contentEncoding": "base64"}, "name": {"type": ["string", "null"]}}, optional=("name",), closed=True
)

SCHEMAS: Final[Mapping[str, Json]] = {
    "ClassifyRequest": record(
        {"images": array(_ENCODED, least=1)}, closed=True, description="Each image in base64, padded, without white space."
    ),
    "ClassifyAnswer": record(
        {"model_name": TEXT, "model_version": VERSION, "predictions": array(either(_PREDICTION, _FAILED), least=1)}
    ),
}
#: What else a body may be, by its content type.
OTHERS: Final[Mapping[str, Json]] = {
    "multipart/form-data": said(
        {"type": "object", "additionalProperties": either(BINARY, array(BINARY))},
        "Each file is an image, whatever its field is called.",
    ),
    "image/*": said(BINARY, "One image: JPEG, PNG, WebP, GIF, BMP or TIFF, told by its bytes."),
    "application/octet-stream": said(BINARY, "The same."),
}
#: What the query may say.
OPTIONS: Final[tuple[Json, ...]] = (
    {
        "name": "top_k",
        "in": "query",
        "description": "How many classes of each image, at most; else as the model has it.",
        "schema": {"type": "integer", "minimum": 1},
    },
    {
        "name": "threshold",
        "in": "query",
        "description": "Leave out classes of a lower score; else as the model has it.",
        "schema": {"type": "number"},
    },
)


def classify(_: Signature, model: str, version: str) -> Exchange:
    """`/v1/models/M:classify`."""
    image = {"name": "pixel.png", "width": 1, "height": 1, "status": 200, "classes": [{"label": "0", "index": 0, "score": 1.0}]}
    return Exchange(
        ref("ClassifyRequest"),
        ref("ClassifyAnswer"),
        {"image": {"images": [{"name": "pixel.png", "b64": _PNG}]}},
        {"image": {"model_name": model, "model_version": version, "predictions": [image]}},
    )
