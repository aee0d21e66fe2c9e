"""A model's card, which its page shows: versions, tensors, requests that work as they stand, and the images that it takes."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from models import Signature, TensorSpec
from models.shelf import IndexEntry
from models.vision.recipe import Recipe
from service import example
from service.engine import Served
from service.openapi.examples import oip_request
from service.sections import Limits

Card = dict[str, object]

#: The longest side of an image that can be drawn by hand, stroke by stroke, and still fill it (pixels).
DRAWN: Final = 64


def card(name: str, entries: Iterable[IndexEntry], labels: Mapping[str, int], served: Served | None, limits: Limits) -> Card:
    """``entries``: the index's of this model; ``served``: its newest version, None where none answers."""
    made: Card = {
        "name": name,
        "versions": [_version(entry, labels) for entry in entries],
        "platform": None,
        "newest": None,
        "inputs": [],
        "outputs": [],
        "requests": [],
        "image": None,
    }
    if served is None:
        return made
    signature, recipe = served.signature, served.recipe
    return made | {
        "platform": served.loaded.platform,
        "newest": served.version,
        "inputs": [_tensor(spec) for spec in signature.inputs],
        "outputs": [_tensor(spec) for spec in signature.outputs],
        "requests": _requests(name, signature, recipe),
        "image": None if recipe is None else _image(recipe, limits),
    }


def _version(entry: IndexEntry, labels: Mapping[str, int]) -> Card:
    return {
        "version": None if entry.version is None else str(entry.version),
        "state": entry.state,
        "reason": entry.reason,
        "labels": sorted(label for label, version in labels.items() if version == entry.version),
    }


def _tensor(spec: TensorSpec) -> Card:
    return {
        "name": spec.name,
        "datatype": spec.datatype,
        "shape": list(spec.shape),
        "optional": spec.optional,
        "feature_names": list(spec.feature_names),
    }


def _requests(name: str, signature: Signature, recipe: Recipe | None) -> list[Card]:
    """What curl is given beside the server's address, quoted for a shell."""
    found: list[Card] = []
    if recipe is not None:
        found.append({"form": "an image", "path": f"v1/models/{name}:classify", "arguments": "-F image=@photo.jpg"})
    rows = example.instances(signature)
    if rows is not None:
        found.append({"form": "TensorFlow Serving", "path": f"v1/models/{name}:predict", "arguments": _data(rows)})
    tensors = oip_request(signature)
    if tensors is not None:
        found.append({"form": "Open Inference Protocol", "path": f"v2/models/{name}/infer", "arguments": _data(tensors)})
    return found


def _data(body: object) -> str:
    return f"-d {shlex.quote(msgspec.json.encode(body).decode())}"


def _image(recipe: Recipe, limits: Limits) -> Card:
    """``images`` and ``body_bytes``: what one request may hold; ``drawn``: whether such an image can be drawn by hand."""
    sides = (recipe.width, recipe.height)
    drawn = recipe.channels == "L" and all(side is not None and side <= DRAWN for side in sides)
    return {
        "width": recipe.width,
        "height": recipe.height,
        "channels": recipe.channels,
        "labels": len(recipe.labels),
        "images": limits.images,
        "body_bytes": limits.body_bytes,
        "drawn": drawn,
    }
