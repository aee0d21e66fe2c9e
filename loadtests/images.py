"""Images for the demo's classifier of digits: a third as JSON, a third as binary tensors of the same images, a third as uploads.

Whichever form an image comes in, and whoever shares its call, the answer has to be the one that it got alone. An upload is a PNG:
as a form in every second, as the whole body in the others.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from loadtests.asks import Ask, Unasked, classed, classes, of_model
from loadtests.steady import Steady, Visitor
from loadtests.uploads import FORM, form
from service.commands.client import Client

MODEL, VERSION, DISTINCT, SIDE = "digits", "1", 256, 64
#: All ten classes, so that every score is judged.
CLASSIFY = f"/v1/models/{MODEL}/versions/{VERSION}:classify?top_k=10"


class Camera(Visitor):
    """Asks what an image shows."""


def asks(url: str) -> Sequence[Ask]:
    """JSON, binary and uploads in turns."""
    with Client(url) as client:
        made = of_model(client, MODEL, VERSION, ("oip", "oip-binary"), DISTINCT)
        uploaded = [upload(client, number, data) for number, data in enumerate(pictures(DISTINCT))]
    return list(itertools.chain.from_iterable(zip(made[:DISTINCT], made[DISTINCT:], uploaded, strict=True)))


def upload(client: Client, number: int, data: bytes) -> Ask:
    """A PNG, and the right answer to it. Raises Unasked, and Unreachable."""
    if number % 2:
        body, content_type = data, "image/png"
    else:
        body, content_type = form("file", f"{number}.png", "image/png", data), FORM
    headers = {"Content-Type": content_type}
    reply = client.send(CLASSIFY, body, headers)
    if reply.status != 200:
        raise Unasked(f"{CLASSIFY}: {reply.error}")
    return Ask(
        f"{MODEL} {VERSION}, upload", CLASSIFY, body, {**headers, "Accept-Encoding": "identity"}, classed(classes(reply.body))
    )


def pictures(count: int) -> Iterator[bytes]:
    """PNGs of made-up greys, in blocks as large as a digit's pixels are."""
    random = np.random.default_rng(1)
    for _ in range(count):
        blocks = Image.fromarray(random.integers(0, 256, (8, 8), np.uint8))
        encoded = io.BytesIO()
        blocks.resize((SIDE, SIDE), Image.Resampling.NEAREST).save(encoded, "PNG")
        yield encoded.getvalue()


steady = Steady("images", Camera, asks, lambda _: [MODEL])
