"""Images that tests make: a picture, its files, and files that no encoder would write."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.tensor import TensorSpec
from models.vision.recipe import Recipe

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
Values = npt.NDArray[np.uint8]


def recipe(**changes: Any) -> Recipe:
    """The way of an ImageNet model, with changes."""
    usual: dict[str, Any] = {
        "spec": TensorSpec("pixels", "FP32", [-1, 3, 224, 224]),
        "output": "scores",
        "height": 224,
        "width": 224,
        "resize": "short_side",
        "short_side": 256,
        "crop": True,
        "interpolation": "bilinear",
        "channels": "RGB",
        "layout": "NCHW",
        "flat": False,
        "scale": 1 / 255,
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "background": (255, 255, 255),
        "fill": (0, 0, 0),
        "scores": "softmax",
        "labels": (),
        "top_k": 5,
        "threshold": 0.0,
    }
    return Recipe(**usual | changes)


COLOURS = recipe()
GREY = recipe(channels="L", mean=(0.5,), std=(0.5,))


def picture(width: int = 61, height: int = 43, seed: int = 0) -> Values:
    """[height, width, 3]: smooth, in all colours, and alike on no two sides."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def grey(values: Values) -> Values:
    """As Pillow weighs colours (ITU-R 601-2)."""
    return np.asarray(Image.fromarray(values).convert("L"))


def encoded(image: Image.Image | Values, form: str, **options: Any) -> bytes:
    """The file."""
    file = BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, form, **options)
    return file.getvalue()


def exact(form: str, values: Values | None = None, **options: Any) -> bytes:
    """A file of that format, without loss where the format can."""
    image = Image.fromarray(picture() if values is None else values)
    if form == "JPEG":
        options |= {"quality": 95, "subsampling": 0}
    elif form == "WEBP":
        options |= {"lossless": True}
    return encoded(image.quantize(256) if form == "GIF" else image, form, **options)


def animated(form: str, frames: int) -> bytes:
    """Frames that differ, of 8 x 6 pixels."""
    pages = [Image.fromarray(picture(8, 6, seed)) for seed in range(frames)]
    return encoded(pages[0], form, save_all=True, append_images=pages[1:])


def chunk(kind: bytes, content: bytes) -> bytes:
    """Of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *extra: bytes) -> bytes:
    """``rows``: as they are packed, each with its filter's byte before it. ``extra``: chunks before the pixels."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(extra) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def bomb(width: int = 50_000, height: int = 50_000) -> bytes:
    """A PNG of few bytes that claims so many pixels."""
    return png(width, height, 8, 2, bytes(100_000))


def exif(orientation: int, order: str = ">") -> bytes:
    """With nothing but the orientation."""
    mark = b"MM" if order == ">" else b"II"
    return b"Exif\0\0" + mark + struct.pack(order + "HIHHHIHHI", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def tiff(entries: list[tuple[int, int, int, int]], pixels: bytes = b"", order: str = "<") -> bytes:
    """A directory of (tag, type, count, value), and pixels from byte 8 on."""
    at = 8 + len(pixels) + (len(pixels) & 1)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", at) + pixels + bytes(at - 8 - len(pixels))
    body = b""
    for tag, kind, count, value in entries:
        inline = struct.pack(order + "HH", value, 0) if kind == 3 and count == 1 else struct.pack(order + "I", value)
        body += struct.pack(order + "HHI", tag, kind, count) + inline
    return head + struct.pack(order + "H", len(entries)) + body + bytes(4)


#: A grey TIFF of 4 x 2 pixels in one strip, as :func:`tiff` takes it.
TIFF_ENTRIES = [(256, 3, 1, 4), (257, 3, 1, 2), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8), (279, 4, 1, 8)]


def tiff_of(values: npt.NDArray[Any], colours: int, order: str = "<", compression: int = 1, **others: Any) -> bytes:
    """Of [height, width, samples] of any datatype, in strips of ``rows``, which are tiles where ``tags`` say so.

    ``others``: ``rows``, ``extra``, ``planes``, ``predictor``, ``turned``, ``tiled``, and ``tags`` beside or in the place of
    those that follow from them. Compressions are 1 (none), 8 (Deflate) and 32773 (PackBits).
    """
    step = others.get("rows", 2)
    height, width, samples = values.shape
    values = values.astype(order + values.dtype.str[1:])
    bits, kind = values.dtype.itemsize * 8, {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    strips = []
    for plane in np.split(values, samples, axis=2) if others.get("planes") else [values]:
        for start in range(0, height, step):
            rows = plane[start : start + step].copy()
            if others.get("predictor"):
                rows[:, 1:] -= plane[start : start + step, :-1]
            strip = zlib.compress(rows.tobytes()) if compression == 8 else rows.tobytes()
            if compression == 32773:
                strip = b"".join(bytes([len(row.tobytes()) - 1]) + row.tobytes() for row in rows)
            strips.append(bytes(int(f"{byte:08b}"[::-1], 2) for byte in strip) if others.get("turned") else strip)
    starts = 8 + np.cumsum([0] + [len(strip) for strip in strips])
    tags: dict[int, tuple[str, list[int]]] = {
        256: ("I", [width]),
        257: ("I", [height]),
        258: ("H", [bits] * samples),
        259: ("H", [compression]),
        262: ("H", [colours]),
        266: ("H", [2 if others.get("turned") else 1]),
        324 if others.get("tiled") else 273: ("I", starts[:-1].tolist()),
        277: ("H", [samples]),
        278: ("I", [step]),
        325 if others.get("tiled") else 279: ("I", [len(strip) for strip in strips]),
        284: ("H", [2 if others.get("planes") else 1]),
        317: ("H", [2 if others.get("predictor") else 1]),
        339: ("H", [kind] * samples),
        **({338: ("H", others["extra"])} if others.get("extra") else {}),
        **others.get("tags", {}),
    }
    pixels, long, directory = b"".join(strips), b"", b""
    for tag, (letter, numbers) in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(numbers)}{letter}", *numbers)
        where = struct.pack(order + "I", 8 + len(pixels) + len(long)) if len(packed) > 4 else packed.ljust(4, b"\0")
        long += packed if len(packed) > 4 else b""
        directory += struct.pack(order + "HHI", tag, 3 if letter == "H" else 4, len(numbers)) + where
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + len(pixels) + len(long))
    return head + pixels + long + struct.pack(order + "H", len(tags)) + directory + bytes(4)
