"""What an image says of itself before any of it is decoded, and the most that it may say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from models.errors import BadImage, ImageTooLarge

#: Above so many pixels Pillow has a bound of its own, and says so by a warning.
MOST_PIXELS: Final = 89_478_485
#: Of EXIF's orientations those that swap width and height.
TURNED: Final = frozenset((5, 6, 7, 8))


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that one image may have: pixels of a frame (up to MOST_PIXELS), and frames."""

    pixels: int = 50_000_000
    frames: int = 1000

    def hold(self, width: int, height: int) -> None:
        """Raises BadImage where there is nothing to see, ImageTooLarge where there is too much."""
        if width < 1 or height < 1:
            raise BadImage(f"the image says that it is {width} x {height} pixels")
        if width * height > self.pixels:
            raise ImageTooLarge(f"the image has {width} x {height} pixels, which is {width * height:,}: {self.pixels:,} may be")

    def hold_frames(self, frames: int) -> None:
        """Raises ImageTooLarge."""
        if frames > self.frames:
            raise ImageTooLarge(f"the image has more than {self.frames:,} frames, which is the most that may be", "frames")


#: What becomes of a sample beside grey: none is there, it says nothing, it is alpha that grey was multiplied by, or alpha.
Beside = Literal["", "ignored", "multiplied", "alpha"]


@dataclass(frozen=True, slots=True)
class Samples:
    """Of grey of 16 or 32 bits, what the bytes are that a decoder leaves.

    ``datatype``: as numpy writes it. ``inverted``: 0 is white. ``run``: so many pixels of a row begin with a value,
    and go on with differences; 0: all are values.
    """

    datatype: str
    inverted: bool = False
    beside: Beside = ""
    run: int = 0


@dataclass(frozen=True, slots=True)
class Header:
    """``width`` and ``height`` in pixels, as stored: before EXIF's ``orientation``, 1 to 8, is applied.

    ``kept``: the parts, in order, that are a file of the first frame's pixels alone, without text, profiles, EXIF and what else
    its decoder would read for nothing. Empty: the whole file is. ``samples``: None where they are what the decoder takes them for.
    ``clear``: of a PNG of 16-bit colours red, green and blue of the one that is transparent. ``place``: left, top, right and bottom
    of a first frame that leaves some of the image free; None: it fills it.
    """

    format: str
    width: int
    height: int
    frames: int
    orientation: int = 1
    kept: tuple[bytes | memoryview, ...] = field(default=(), repr=False, compare=False)
    samples: Samples | None = field(default=None, compare=False)
    clear: tuple[int, ...] = field(default=(), compare=False)
    place: tuple[int, int, int, int] | None = field(default=None, compare=False)

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height as they are looked at."""
        return (self.height, self.width) if self.orientation in TURNED else (self.width, self.height)
