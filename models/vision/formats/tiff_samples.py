"""TIFF: what the samples of a pixel are. Kinds whose pixels the decoder would get wrong, or not at all, are refused by name."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from models.errors import NotAnImage
from models.vision.bounds import Beside, Samples

#: Tags that are told to the decoder otherwise than the file tells them; None: not at all.
Told = dict[int, int | None]

BITS, COLOURS, SAMPLES, PLANES, PREDICTOR, EXTRA, NUMBERS = 258, 262, 277, 284, 317, 338, 339
_WHITE_IS_0, _BLACK_IS_0, _RGB, _PALETTE, _CMYK, _YCBCR, _LAB = 0, 1, 2, 3, 5, 6, 8
_GREY: Final = frozenset((_WHITE_IS_0, _BLACK_IS_0))
_DIFFERENCES: Final = 2
_JPEG: Final = 7
#: Their samples, without those that are extra.
_COUNTS: Final = MappingProxyType({_WHITE_IS_0: 1, _BLACK_IS_0: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3, _LAB: 3})
_COLOURS: Final = MappingProxyType(
    {
        _WHITE_IS_0: "grey",
        _BLACK_IS_0: "grey",
        _RGB: "RGB",
        _PALETTE: "a palette",
        4: "a mask",
        _CMYK: "CMYK",
        _YCBCR: "YCbCr",
        _LAB: "CIELab",
        9: "ICCLab",
        10: "ITULab",
        32803: "a camera's raw colours",
        32844: "LogL",
        32845: "LogLuv",
        34892: "linear raw",
    }
)
_UNSIGNED, _SIGNED, _FRACTIONS = 1, 2, 3
_LETTERS: Final = MappingProxyType({_UNSIGNED: "u", _SIGNED: "i", _FRACTIONS: "f"})
_NUMBERS: Final = MappingProxyType({_UNSIGNED: "whole numbers", _SIGNED: "signed numbers", _FRACTIONS: "fractions"})
#: ExtraSamples: nothing that is known; alpha that colours were multiplied by; alpha.
_UNKNOWN, _MULTIPLIED, _ALPHA = 0, 1, 2
_BESIDE: Final[tuple[Beside, ...]] = ("ignored", "multiplied", "alpha")
_NONE: Final[tuple[int, ...]] = ()
_ONE_OF_ANY: Final = frozenset((_NONE, (_UNKNOWN,), (_MULTIPLIED,), (_ALPHA,)))
#: By colours and bits what may be extra.
_TAKEN: Final = MappingProxyType(
    {
        **{(colours, bits): frozenset((_NONE,)) for colours in (*_GREY, _PALETTE) for bits in (1, 2, 4, 8)},
        **{(colours, bits): frozenset((_NONE,)) for colours in _GREY for bits in (16, 32)},
        (_BLACK_IS_0, 8): _ONE_OF_ANY,
        (_BLACK_IS_0, 16): _ONE_OF_ANY,
        (_PALETTE, 8): _ONE_OF_ANY - {(_MULTIPLIED,)},
        (_RGB, 8): _ONE_OF_ANY | {(999,)} | {(kind, *(_UNKNOWN,) * more) for kind in (0, 1, 2) for more in (1, 2)},
        (_RGB, 16): _ONE_OF_ANY,
        (_CMYK, 8): frozenset((_NONE, (_UNKNOWN,), (_UNKNOWN, _UNKNOWN))),
        (_CMYK, 16): frozenset((_NONE,)),
        (_YCBCR, 8): frozenset((_NONE,)),
        (_LAB, 8): frozenset((_NONE,)),
    }
)
_ARE_TAKEN: Final = "grey up to 32 bits, RGB and CMYK of 8 and 16, palettes, YCbCr and CIELab are taken"


@dataclass(frozen=True, slots=True)
class Kind:
    """As the tags say it, in TIFF's own numbers. ``order``: of bytes, "<" or ">". ``run``: pixels of a row of a strip or tile."""

    order: str
    compression: int
    colours: int
    bits: int
    numbers: frozenset[int]
    samples: int
    extra: tuple[int, ...]
    planes: bool
    bits_turned: bool
    predictor: int
    subsampled: bool
    run: int

    def read(self) -> tuple[Samples | None, Told]:
        """How the decoder's samples are to be read, None where as they are, and what it is told. Raises NotAnImage."""
        told: Told = {}
        extra, planes = self.extra, self.planes and self.samples > 1
        if self.planes and not planes:
            told[PLANES] = None  # of one plane the decoder takes the first letter of what it would do
        if self.colours == _RGB and self.samples == 4 and not extra:
            told[EXTRA], extra = _ALPHA, (_ALPHA,)
        if self.samples != _COUNTS.get(self.colours, 0) + len(extra):
            raise self._refusal()
        if planes:
            self._check_planes(extra)
            extra = extra if any(extra) else _NONE  # planes of their own that nobody looks at
        if extra not in _TAKEN.get((self.colours, self.bits), ()):
            raise self._refusal()
        if self.bits_turned and not self._may_be_turned(extra, planes):
            raise self._refusal(", its bits turned round")
        if self.subsampled and self.colours == _YCBCR and self.compression == 1:
            raise self._refusal(", its colours in fewer pixels, not compressed")
        if self.bits > 8 and self.compression in (2, 3, 4, _JPEG):
            raise self._refusal(", by JPEG or CCITT's codes")
        if self.colours in _GREY and self.bits > 8:
            return self._deep(extra, told), told
        if self.numbers != {_UNSIGNED}:
            raise self._refusal()
        return None, told

    def _deep(self, extra: tuple[int, ...], told: Told) -> Samples:
        """Grey of 16 or 32 bits. The decoder is told what it does right: nothing of white at 0, or of signs."""
        numbers = next(iter(self.numbers)) if len(self.numbers) == 1 else 0
        if numbers not in _NUMBERS or (self.bits == 16 and (numbers == _FRACTIONS or (extra and numbers != _UNSIGNED))):
            raise self._refusal()
        told[COLOURS] = _BLACK_IS_0
        inverted = self.colours == _WHITE_IS_0
        letter = _LETTERS[numbers]
        if extra:  # two samples of 16 bits are four bytes a pixel, as those of RGB with alpha are
            if self.predictor not in (1, _DIFFERENCES):
                raise self._refusal()
            told |= {COLOURS: _RGB, BITS: 8, SAMPLES: 4, EXTRA: _ALPHA, NUMBERS: None, PREDICTOR: None}
            return Samples(f"{self.order}u2", inverted, _BESIDE[extra[0]], self.run if self.predictor == _DIFFERENCES else 0)
        if self.bits == 16:
            told[NUMBERS] = None
            return Samples(f"{self.order}{letter}2", inverted)
        told[NUMBERS] = _FRACTIONS if numbers == _FRACTIONS else _SIGNED
        # Decompressed they are in the machine's order, and the decoder turns them as if they were in the file's.
        turned = self.compression != 1 and (self.order == "<") != (sys.byteorder == "little")
        return Samples(f"{self.order if turned else '='}{letter}4", inverted)

    def _check_planes(self, extra: tuple[int, ...]) -> None:
        if self.compression == 1:
            taken = self.bits == 8 and self.colours in (_RGB, _CMYK) and extra in (_NONE, (_ALPHA,), (999,))
            told = ", in uncompressed planes"
        else:
            taken = self.colours != _LAB and (not any(extra) or (self.colours == _RGB and len(extra) == 1))
            told = ", in planes"
        if not taken:
            raise self._refusal(told)

    def _may_be_turned(self, extra: tuple[int, ...], planes: bool) -> bool:
        if self.colours == _RGB:
            return self.bits == 8 and not extra and not (planes and self.compression == 1)
        alone = self.colours in (*_GREY, _PALETTE) and not extra
        negative = self.compression == 1 and self.colours == _WHITE_IS_0 and self.bits == 8
        return alone and not negative and (self.bits <= 8 or (self.bits == 16 and self.order == "<"))

    def _refusal(self, how: str = "") -> NotAnImage:
        more = self.samples - _COUNTS.get(self.colours, self.samples)
        name = _COLOURS.get(self.colours, f"colours of code {self.colours}")
        if more > 0:
            name += " with alpha" if {_MULTIPLIED, _ALPHA} & {*self.extra} else f" and {more} samples more"
        elif more < 0:
            name += f" in {self.samples} samples a pixel"
        numbers = "values of several kinds"
        if len(self.numbers) == 1:
            numbers = _NUMBERS.get(next(iter(self.numbers)), "undefined values")
        return NotAnImage(f"this is a TIFF of {name}, {numbers} of {self.bits} bits{how}: {_ARE_TAKEN}")
