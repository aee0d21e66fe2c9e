"""What is large is decoded alone, so that its memory is needed once."""

from __future__ import annotations

import pytest

from models.vision.bounds import Header
from models.vision.prepare import LARGE, is_large

SIDES = [(LARGE, 1, False), (1, LARGE + 1, True), (4000, 4000, False), (4001, 4000, True)]


@pytest.mark.parametrize(("width", "height", "large"), SIDES)
def test_an_image_is_large_by_its_pixels(width: int, height: int, large: bool) -> None:
    assert is_large(Header("PNG", width, height, 1)) is large
