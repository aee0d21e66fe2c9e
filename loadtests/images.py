"""Images for the demo's classifier of digits: half of the requests in JSON, half with binary tensors, of the same images.

Whichever form an image comes in, and whoever shares its call, the answer has to be the one that it got alone, in JSON.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from loadtests.asks import Ask, of_model
from loadtests.steady import Steady, Visitor
from service.commands.client import Client

MODEL, VERSION, DISTINCT = "digits", "1", 256


class Camera(Visitor):
    """Asks what an image shows."""


def asks(url: str) -> Sequence[Ask]:
    """JSON and binary in turns."""
    with Client(url) as client:
        made = of_model(client, MODEL, VERSION, ("oip", "oip-binary"), DISTINCT)
    return list(itertools.chain.from_iterable(zip(made[:DISTINCT], made[DISTINCT:], strict=True)))


steady = Steady("images", Camera, asks, lambda _: [MODEL])
