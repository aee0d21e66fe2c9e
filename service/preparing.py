"""A request's encoded images to rows of its model's input: the part that runs in a decoding thread.

The decoders are imported with the first model that takes images (``models.loader``): who serves none does not pay for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from msgspec.structs import replace

from models import Array, ImageError, ImageTooLarge, InvalidInput, Problem
from models.vision.bounds import Bounds
from models.vision.recipe import Recipe
from service.errors import BadRequest, ServiceError
from service.failures import failure
from service.protocol.infer import Infer
from service.protocol.pictures import Picture, Refused, Seen
from service.slab import Slab
from service.until import Until

if TYPE_CHECKING:
    from models.vision.prepare import Prepared


def limit_of(error: Exception) -> str:
    """The key of `[limits]` that an error is over, if any."""
    if isinstance(error, ImageTooLarge):
        return f"image_{error.what}"
    return error.limit if isinstance(error, ServiceError) else ""


#: What has to be done in time.
IMAGES: Final = "all of the request's images were decoded"


class Large(Exception):
    """The next image is so large that it has to be decoded where no other such is."""


class Preparing:
    """The images of one request on their way to rows of its model's input.

    ``slab``: None where images differ in size. An image that is bad is told of in ``seen`` where the request's images stand apart,
    and raised where not.
    """

    def __init__(self, infer: Infer, recipe: Recipe, slab: Slab | None, bounds: Bounds, until: Until) -> None:
        self._infer, self._recipe, self._bounds, self._until = infer, recipe, bounds, until
        self._room = None if slab is None else slab.take(len(infer.pictures))
        self._made: list[Prepared] = []
        self._seen: list[Seen | Refused] = []

    def small(self) -> Infer:
        """As ``rest``, which goes on where this raises Large."""
        return self._prepared(alone=False)

    def rest(self) -> Infer:
        """The request with the rows of its good images; of 0 rows where none is good.

        Raises NotAnImage, ImageTooLarge, BadImage, BadRequest, DeadlineExceeded, InvalidInput where the images do not fit together.
        """
        return self._prepared(alone=True)

    def _prepared(self, *, alone: bool) -> Infer:
        made, seen, room = self._made, self._seen, self._room
        for picture in self._infer.pictures[len(seen) :]:
            if self._until.left_s <= 0:
                raise self._until.over(IMAGES)
            try:
                # A bad image's place is the next one's.
                one = self._one(picture, None if room is None else room[len(made)], alone=alone)
            except (ImageError, BadRequest) as error:
                if not self._infer.apart:
                    raise
                told = failure(error)
                seen.append(Refused(told.message, told.code, told.status, limit_of(error)))
            else:
                made.append(one)
                seen.append(Seen(one.width, one.height))
        inputs = dict(self._infer.inputs)
        if made:
            inputs[self._recipe.spec.name] = _together([one.row for one in made]) if room is None else room[: len(made)]
        return replace(self._infer, inputs=inputs, rows=len(made), pictures=(), seen=tuple(seen))

    def _one(self, picture: Picture, out: Array | None, *, alone: bool) -> Prepared:
        from models.vision.header import look
        from models.vision.prepare import is_large, prepare

        if picture.problem is not None:
            raise BadRequest(str(picture.problem), picture.problem)
        try:
            header = look(picture.data, self._bounds)
            if is_large(header) and not alone:
                raise Large
            return prepare(picture.data, header, self._recipe, out)
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
