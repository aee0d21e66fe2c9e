"""Encoded images as they come with a request, and what is told of each.

They are JPEGs, PNGs and the like: nothing here looks into them.
"""

from __future__ import annotations

import binascii
import re
from typing import Final

import msgspec

from models.errors import Problem
from models.vision.recipe import Recipe
from service.protocol.json_data import clip

#: Longer names are cut (characters): they come back, and a caller chooses them.
NAME: Final = 255
_ALPHABET: Final = re.compile(rb"[A-Za-z0-9+/]*")


class Picture(msgspec.Struct, frozen=True):
    """One encoded image. ``path``: where in the request it stands, empty where it is the whole of it. ``problem``: why its bytes
    could not be had."""

    name: str
    data: bytes
    path: str = ""
    problem: Problem | None = None


class Seen(msgspec.Struct, frozen=True, gc=False):
    """An image that was looked at: its size in pixels, upright."""

    width: int
    height: int


class Refused(msgspec.Struct, frozen=True, gc=False):
    """An image that could not be, as errors tell of it; ``limit``: the key of `[limits]` that it is over."""

    error: str
    code: str
    status: int
    limit: str = ""


class Upload(msgspec.Struct, frozen=True, gc=False):
    """What is needed of a model and a request where the body may hold encoded images: how the one looks at them, and what the
    other says beside them."""

    recipe: Recipe
    content_type: bytes | None = None
    query: bytes = b""


def from_base64(text: bytes, name: str, path: str) -> Picture:
    """The image in a text of base64 (RFC 4648, section 4), which has to be just that."""
    if not text.endswith(b"==="):  # which binascii overlooks behind four characters
        try:
            return Picture(name, binascii.a2b_base64(text, strict_mode=True), path)
        except binascii.Error:
            pass  # told below
    return Picture(name, b"", path, _problem(text, path))


def _problem(text: bytes, path: str) -> Problem:
    if text[:5].lower() == b"data:":
        return Problem(path, "a data: URL is not base64", "what stands behind its comma", clip(text[:40].decode(errors="replace")))
    found = _ALPHABET.match(text)
    at = 0 if found is None else found.end()
    rest = text[at:]
    if rest.strip(b"="):
        padded = rest.lstrip(b"=")
        if padded[:1].isspace():  # as a file of base64 ends
            at, rest = len(text) - len(padded), padded
        odd = rest[:4].decode(errors="replace")[0]
        if odd.isspace():
            return Problem(path, "white space is not base64", "base64 without spaces or line ends", f"{odd!r} at character {at}")
        if odd in "-_":
            expected = "the alphabet with + and /, not that of URLs"
            return Problem(path, "not base64 as it is taken here", expected, f"{odd!r} at character {at}")
        return Problem(path, "not base64", "A to Z, a to z, 0 to 9, + and /, then = to pad", f"{odd!r} at character {at}")
    if len(text) % 4:
        return Problem(
            path, "the base64 lacks its padding, or was cut off", "a multiple of 4 characters", f"{len(text)} characters"
        )
    return Problem(
        path, "the base64 does not end as it should", "at most two = and no bits left over", clip(rest.decode(errors="replace"))
    )
