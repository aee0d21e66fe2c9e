"""What is large is decoded one at a time, so that its memory is needed once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from io import BytesIO

import pytest
from image_files import GREY
from PIL import Image

from models.vision import prepare as module
from models.vision.header import Bounds
from models.vision.prepare import LARGE, prepare


def black(pixels: int) -> bytes:
    side = round(pixels**0.5)
    file = BytesIO()
    Image.new("1", (side, side)).save(file, "PNG")
    return file.getvalue()


def test_a_large_image_waits_for_another_and_a_small_one_does_not() -> None:
    large, small = black(LARGE + 100_000), black(LARGE // 100)
    with ThreadPoolExecutor(2) as threads:
        with module._large:  # as another thread has it that decodes one
            first = threads.submit(prepare, large, GREY, Bounds())
            assert threads.submit(prepare, small, GREY, Bounds()).result(60).width < 1000
            with pytest.raises(TimeoutError):
                first.result(0.01)
        assert first.result(60).width > 4000
        assert wait([threads.submit(prepare, large, GREY, Bounds()) for _ in range(2)], 60).not_done == set()


def test_a_large_image_that_is_damaged_holds_no_other_up() -> None:
    large = black(LARGE + 100_000)
    for data in (large[:-40], large):
        try:
            found = prepare(data, GREY, Bounds())
        except Exception:
            continue
        assert found.width > 4000
    assert not module._large.locked()
