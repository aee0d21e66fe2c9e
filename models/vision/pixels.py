"""What decoding leaves of an image."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image


@dataclass(frozen=True, slots=True)
class Pixels:
    """An image in RGB or L, upright. ``width`` and ``height`` are those of the file's picture (pixels).

    ``image`` may show it in a ``shrunk``-th of that, from ``left`` and ``top`` on. A side that this does not divide was rounded up,
    so there is more of ``image`` than of the picture, by less than a pixel: behind it, or before it where it was turned.
    """

    image: Image.Image
    width: int
    height: int
    shrunk: int = 1
    left: float = 0.0
    top: float = 0.0

    @classmethod
    def of(cls, image: Image.Image) -> Pixels:
        """An image as large as it is."""
        return cls(image, image.width, image.height)
