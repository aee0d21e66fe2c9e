"""A request's encoded images to rows of its model's input: the part that runs in a decoding thread.

The decoders are imported with the first model that takes images (``models.loader``): who serves none does not pay for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace

from batching import DeadlineExceeded
from models import Array, ImageError, ImageTooLarge, InvalidInput, Problem
from models.vision.bounds import Bounds
from models.vision.recipe import Recipe
from service.engine import Served
from service.errors import BadRequest, ServiceError
from service.failures import failure
from service.protocol.infer import Infer
from service.protocol.pictures import Picture, Refused, Seen
from service.slab import Slab

if TYPE_CHECKING:
    from models.vision.prepare import Prepared


@dataclass(slots=True)
class Until:
    """How long an answer is waited for: to ``at``, ``perf_counter``'s (seconds), which whoever gives up sets to the past."""

    at: float

    @property
    def left_s(self) -> float:
        """How much longer (seconds)."""
        return self.at - perf_counter()

    def give_up(self) -> None:
        """Nobody waits any more."""
        self.at = -inf

    def over(self) -> DeadlineExceeded:
        """What there is to say then."""
        return DeadlineExceeded("the deadline passed before all of the request's images were decoded", "admission")


def limit_of(error: Exception) -> str:
    """The key of `[limits]` that an error is over, if any."""
    if isinstance(error, ImageTooLarge):
        return f"image_{error.what}"
    return error.limit if isinstance(error, ServiceError) else ""


def rows_of(infer: Infer, served: Served, bounds: Bounds, until: Until) -> Infer:
    """The request with the rows of its images, held against the model's signature. Raises as ``prepared``."""
    if served.recipe is None:
        raise TypeError("the model takes no encoded images")
    found = prepared(infer, served.recipe, served.slab, bounds, until)
    if found.rows and served.signature.batched:
        served.signature.check(found.inputs)
    return found


def prepared(infer: Infer, recipe: Recipe, slab: Slab | None, bounds: Bounds, until: Until) -> Infer:
    """The request with the rows of its good images; of 0 rows where none is good. ``slab``: None where images differ in size.

    An image that is bad is told of in ``seen`` where the request's images stand apart, and raised where not: NotAnImage,
    ImageTooLarge, BadImage, BadRequest. Raises DeadlineExceeded, InvalidInput where the images do not fit together.
    """
    pictures = infer.pictures
    room = None if slab is None else slab.take(len(pictures))
    made: list[Prepared] = []
    seen: list[Seen | Refused] = []
    for picture in pictures:
        if until.left_s <= 0:
            raise until.over()
        try:
            # A bad image's place is the next one's.
            one = _prepared(picture, recipe, bounds, None if room is None else room[len(made)])
        except (ImageError, BadRequest) as error:
            if not infer.apart:
                raise
            told = failure(error)
            seen.append(Refused(told.message, told.code, told.status, limit_of(error)))
        else:
            made.append(one)
            seen.append(Seen(one.width, one.height))
    inputs = dict(infer.inputs)
    if made:
        inputs[recipe.spec.name] = _together([one.row for one in made]) if room is None else room[: len(made)]
    return replace(infer, inputs=inputs, rows=len(made), pictures=(), seen=tuple(seen))


def _prepared(picture: Picture, recipe: Recipe, bounds: Bounds, out: Array | None) -> Prepared:
    from models.vision.prepare import prepare

    if picture.problem is not None:
        raise BadRequest(str(picture.problem), picture.problem)
    try:
        return prepare(picture.data, recipe, bounds, out)
    except ImageError as error:
        if not picture.path:
            raise
        raise error.at(picture.path) from None


def _together(rows: list[Array]) -> Array:
    """Rows of images that the model takes in sizes of their own."""
    if len(rows) == 1:
        return rows[0][np.newaxis]
    shapes = {row.shape for row in rows}
    if len(shapes) > 1:
        problem = "the model takes each image in its own size, and those of one request differ"
        raise InvalidInput(Problem("images", problem, "images of one size, or one image a request", f"{len(shapes)} sizes"))
    return np.stack(rows)
