"""Where an input tensor has an image's height, width and channels."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

from models.errors import LoadError
from models.tensor import TensorSpec
from models.vision.declaration import Image, Layout

DEPTHS = {"RGB": 3, "BGR": 3, "L": 1}


@dataclass(frozen=True, slots=True)
class Axes:
    """``height`` and ``width`` as the tensor has them, None where they are free; ``depth``: its channels, None where free.

    ``flat``: the tensor is [rows, values], and does not say how many of them are beside each other.
    """

    height: int | None
    width: int | None
    depth: int | None
    layout: Layout
    flat: bool = False


def axes(image: Image, spec: TensorSpec) -> Axes:
    """Raises LoadError where the tensor is no image, or its layout has to be said."""
    dims = tuple([None if dim == -1 else dim for dim in spec.shape])
    if 0 in dims:
        raise wrong("input", f"{called(spec)} has a dim of 0", "a tensor that holds an image")
    match dims:
        case (_, _):
            return _flat(image, spec, dims[1])
        case (_, height, width):
            return Axes(height, width, 1, image.layout or "NCHW")
        case (_, _, _, _):
            layout = image.layout or _layout(image, spec)
            depth, height, width = dims[1:] if layout == "NCHW" else (dims[3], *dims[1:3])
            return Axes(height, width, depth, layout)
    forms = "[-1, channels, height, width], [-1, height, width, channels], [-1, height, width] or [-1, values]"
    raise wrong("input", f"{called(spec)} is none", f"the shape of images: {forms}")


def _layout(image: Image, spec: TensorSpec) -> Layout:
    first, last = (spec.shape[axis] in DEPTHS.values() for axis in (1, 3))
    if first and last and image.channels is not None:
        first, last = (spec.shape[axis] == DEPTHS[image.channels] for axis in (1, 3))
    if first == last:
        which = "both the second and the last dim" if first else "neither the second nor the last dim"
        raise wrong("layout", f"{which} of {called(spec)} can be told for its channels, 1 or 3", "'NCHW' or 'NHWC'")
    return "NCHW" if first else "NHWC"


def _flat(image: Image, spec: TensorSpec, values: int | None) -> Axes:
    """Of [rows, values]: as ``size`` and ``channels`` say, else a square of one channel, or of three."""
    depths = (1, 3) if image.channels is None else (DEPTHS[image.channels],)
    height = width = depth = None
    if image.size is not None:
        height, width = sides(image.size)
        fitting = [depth for depth in depths if values in (None, height * width * depth)]
        if not fitting:
            needed = " or ".join(str(height * width * depth) for depth in depths)
            raise wrong(
                "size", f"{called(spec)} does not hold {height} x {width} pixels", f"one that makes {needed} values of them"
            )
        depth = fitting[0] if len(fitting) == 1 else None
    elif values is not None:
        # A number is never both a square and three times one.
        squares = [depth for depth in depths if values % depth == 0 and isqrt(values // depth) ** 2 * depth == values]
        if not squares:
            raise wrong("size", f"{called(spec)} is not a square of {depths_named(depths)}", "height and width, such as [28, 20]")
        depth = squares[0]
        height = width = isqrt(values // depth)
    if (depth or DEPTHS[image.channels or "RGB"]) == 3 and image.layout is None:
        raise wrong(
            "layout", f"{called(spec)} does not say where its channels stand", "'NCHW', a colour after the other, or 'NHWC'"
        )
    return Axes(height, width, depth, image.layout or "NCHW", flat=True)


def depths_named(depths: tuple[int, ...]) -> str:
    """As in "1 or 3 channels"."""
    return " or ".join(map(str, depths)) + (" channel" if depths == (1,) else " channels")


def sides(size: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width."""
    return (size, size) if isinstance(size, int) else size


def called(spec: TensorSpec) -> str:
    """A tensor as an error names it."""
    return f"{spec.name!r}, {spec.datatype} {list(spec.shape)},"


def wrong(key: str, problem: str, expected: str) -> LoadError:
    """What is wrong with a key of ``[image]``, and what it should be."""
    return LoadError(f"model.toml, image.{key}: {problem}; expected {expected}")
