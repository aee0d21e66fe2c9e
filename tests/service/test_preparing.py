"""From a request's encoded images to its rows: each good one in order, each bad one told of, nothing past its time."""

from __future__ import annotations

from io import BytesIO
from math import inf

import numpy as np
import pytest
from image_files import encoded, picture, recipe
from PIL import Image

from batching import DeadlineExceeded
from models import BadImage, ImageError, ImageTooLarge, InvalidInput, NotAnImage, Problem, TensorSpec
from models.vision.bounds import Bounds
from models.vision.header import look
from models.vision.prepare import LARGE as LARGE_PIXELS
from models.vision.prepare import prepare
from service.errors import BadRequest, TooManyImages
from service.preparing import Large, Preparing, limit_of
from service.protocol.infer import Infer
from service.protocol.pictures import Picture, Refused, Seen
from service.slab import Slab
from service.until import Until

RECIPE = recipe(
    spec=TensorSpec("pixels", "FP32", [-1, 1, 4, 4]), height=4, width=4, short_side=4, channels="L", mean=(0.0,), std=(1.0,)
)
FREE = recipe(
    spec=TensorSpec("pixels", "FP32", [-1, 1, -1, -1]), height=None, width=None, crop=False, short_side=4, channels="L",
    mean=(0.0,), std=(1.0,),
)  # fmt: skip
BOUNDS = Bounds(pixels=10_000, frames=10)
FOREVER = Until(inf)
WIDE, TALL = encoded(picture(16, 8), "PNG"), encoded(picture(8, 16), "PNG")
LARGE = encoded(picture(200, 100), "PNG")


def infer(*images: bytes | Picture, apart: bool = True) -> Infer:
    pictures = [each if isinstance(each, Picture) else Picture(f"image {index}", each) for index, each in enumerate(images)]
    return Infer({}, len(pictures), ("scores",), pictures=tuple(pictures), apart=apart)


def made(*images: bytes | Picture, apart: bool = True) -> Infer:
    return Preparing(infer(*images, apart=apart), RECIPE, Slab.of(RECIPE, 8), BOUNDS, FOREVER).small()


def test_each_good_image_is_a_row_in_order_and_a_bad_one_leaves_no_gap() -> None:
    found = made(WIDE, b"no image", TALL, b"", WIDE[:-30], WIDE)
    expected = [prepare(data, look(data, BOUNDS), RECIPE).row for data in (WIDE, TALL, WIDE)]
    assert found.rows == 3
    assert np.array_equal(found.inputs["pixels"], np.stack(expected))
    assert [(type(each), getattr(each, "code", "")) for each in found.seen] == [
        (Seen, ""), (Refused, "unsupported_image"), (Seen, ""), (Refused, "bad_image"), (Refused, "bad_image"), (Seen, "")
    ]  # fmt: skip
    assert found.seen[0] == Seen(16, 8)
    assert found.seen[2] == Seen(8, 16)


def test_a_request_is_let_go_of_its_encoded_images() -> None:
    assert made(WIDE).pictures == ()


def test_where_no_image_is_good_there_are_no_rows_and_no_input() -> None:
    found = made(b"", b"no image")
    assert (found.rows, found.inputs, len(found.seen)) == (0, {}, 2)


@pytest.mark.parametrize(
    ("image", "kind", "limit"),
    [(b"", BadImage, ""), (b"no image", NotAnImage, ""), (LARGE, ImageTooLarge, "image_pixels"), (WIDE[:-30], BadImage, "")],
    ids=["empty", "text", "large", "cut off"],
)
def test_an_image_that_stands_for_its_request_is_the_requests_error(image: bytes, kind: type[ImageError], limit: str) -> None:
    with pytest.raises(kind) as alone:
        made(image, apart=False)
    assert limit_of(alone.value) == limit
    (beside, good) = made(image, WIDE).seen
    assert isinstance(beside, Refused)
    assert (beside.error, beside.limit) == (str(alone.value), limit)
    assert good == Seen(16, 8)


def test_an_error_names_the_place_of_its_image_where_it_has_one() -> None:
    with pytest.raises(BadImage) as caught:
        made(Picture("a", b"", "images[3].b64"), apart=False)
    assert str(caught.value) == "images[3].b64: the image is empty (0 bytes)"
    assert caught.value.problems == (Problem("images[3].b64", "the image is empty (0 bytes)"),)
    with pytest.raises(ImageTooLarge) as too_large:
        made(Picture("a", LARGE, "images[3].b64"), apart=False)
    assert limit_of(too_large.value) == "image_pixels"


def test_what_is_no_base64_is_an_image_like_any_bad_one() -> None:
    lost = Picture("a", b"", "images[0].b64", Problem("images[0].b64", "not base64"))
    with pytest.raises(BadRequest, match="not base64") as caught:
        made(lost, apart=False)
    assert caught.value.details == (lost.problem,)
    assert made(lost, WIDE).seen == (Refused("images[0].b64: not base64", "bad_request", 400), Seen(16, 8))


def test_past_its_time_nothing_more_is_looked_at() -> None:
    for until in (Until(-inf), Until(0.0)):
        with pytest.raises(DeadlineExceeded):
            Preparing(infer(WIDE), RECIPE, None, BOUNDS, until).small()
    given_up = Until(inf)
    given_up.give_up()
    with pytest.raises(DeadlineExceeded):
        Preparing(infer(WIDE), RECIPE, None, BOUNDS, given_up).small()


def test_images_of_one_size_each_go_together_and_others_do_not() -> None:
    alike = Preparing(infer(WIDE, b"", WIDE), FREE, Slab.of(FREE, 8), BOUNDS, FOREVER).small()
    assert alike.inputs["pixels"].shape == (2, 1, 4, 8)
    with pytest.raises(InvalidInput, match="takes each image in its own size") as caught:
        Preparing(infer(WIDE, TALL), FREE, None, BOUNDS, FOREVER).small()
    assert caught.value.problems[0].path == "images"


def test_a_large_image_is_left_to_whoever_decodes_alone_and_what_was_done_before_it_is_kept() -> None:
    side = round(LARGE_PIXELS**0.5) + 1
    file = BytesIO()
    Image.new("1", (side, side)).save(file, "PNG")
    preparing = Preparing(infer(WIDE, b"", file.getvalue(), TALL), RECIPE, Slab.of(RECIPE, 8), Bounds(), FOREVER)
    for _ in range(2):
        with pytest.raises(Large):
            preparing.small()
    found = preparing.rest()
    assert found.seen[0] == Seen(16, 8)
    assert found.seen[2:] == (Seen(side, side), Seen(8, 16))
    expected = [prepare(data, look(data, BOUNDS), RECIPE).row for data in (WIDE, TALL)]
    assert np.array_equal(found.inputs["pixels"][::2], np.stack(expected))


def test_limits_are_told_of_by_their_keys() -> None:
    assert limit_of(ImageTooLarge("many", "frames")) == "image_frames"
    assert limit_of(TooManyImages("many", limit="images")) == "images"
    assert limit_of(ValueError()) == limit_of(BadImage("bad")) == ""
