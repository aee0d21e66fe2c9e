"""Encoded images: looked at, and decoded to colours and to grey."""

from __future__ import annotations

import zlib
from contextlib import suppress
from dataclasses import replace
from typing import Final

import numpy as np

from models.errors import ImageError
from models.tensor import TensorSpec
from models.vision.decode import decode
from models.vision.header import Bounds, Header, look
from models.vision.recipe import Recipe
from tests.fuzz.target import Broken, Target

#: Small, so that what it allows costs little.
BOUNDS: Final = Bounds(pixels=250_000, frames=20)
COLOURS: Final = Recipe(
    spec=TensorSpec("pixels", "FP32", [-1, 3, 8, 8]),
    output="scores",
    height=8,
    width=8,
    resize="short_side",
    short_side=8,
    crop=True,
    interpolation="bilinear",
    channels="RGB",
    layout="NCHW",
    flat=False,
    scale=1.0,
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    background=(255, 0, 255),
    fill=(0, 0, 0),
    scores="none",
    labels=(),
    top_k=5,
    threshold=0.0,
)
GREY: Final = replace(COLOURS, channels="L", mean=(0.0,), std=(1.0,), height=100, width=100, short_side=100)


def mended(data: bytes) -> bytes:
    """A PNG whose checksums are those of its bytes: any change of a chunk is refused by its checksum otherwise."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    mended, at = bytearray(data), 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data):
            break
        mended[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(mended)


def parse_image(data: bytes) -> Header:
    """As it is; a PNG also with the checksums of what it has become."""
    with suppress(ImageError):
        return parse_picture(data)
    return parse_picture(mended(data))


def parse_picture(data: bytes) -> Header:
    """A picture of the size that was told. What is kept for the decoder is a file of that size too, upright and of one frame."""
    header = look(data, BOUNDS)
    if header.width * header.height > BOUNDS.pixels or header.frames > BOUNDS.frames:
        raise Broken(f"{header} is more than may be")
    if header.kept:
        alone = look(b"".join(header.kept), BOUNDS)
        if alone != Header(header.format, header.width, header.height, 1):
            raise Broken(f"{header} is kept as {alone}")
    for recipe, axes in ((COLOURS, 3), (GREY, 2)):
        decoded = decode(data, header, recipe)
        width, height, pixels = decoded.width, decoded.height, np.asarray(decoded.image)
        if {width, height} != {header.width, header.height}:
            raise Broken(f"{header} is {width} x {height} upright")
        if pixels.dtype != np.uint8 or pixels.ndim != axes or pixels.shape[0] > height or pixels.shape[1] > width:
            raise Broken(f"{header} became {pixels.dtype} {pixels.shape}")
    return header


IMAGE = Target(
    "image",
    parse_image,
    (ImageError,),
    longest=8192,
    floor=16 * 1024**2,
)

TARGETS = (IMAGE,)
