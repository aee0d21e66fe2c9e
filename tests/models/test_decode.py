"""Decoding: upright, no larger than needed, and no damage gets through as a defect of ours."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from image_files import COLOURS, FORMATS, GREY, Values, animated, chunk, encoded, exact, exif, picture, png, recipe, tiff_of
from PIL import Image, ImageFile

from models.errors import BadImage, ImageError, ImageTooLarge, NotAnImage
from models.vision.decode import decode
from models.vision.header import Bounds, look
from models.vision.pixels import Pixels
from models.vision.prepare import prepare
from models.vision.preprocess import preprocess
from models.vision.recipe import Recipe

USUAL = Bounds()
SMALL = Bounds(pixels=100_000, frames=20)


def shown(data: bytes, to: Recipe = COLOURS) -> Values:
    return np.asarray(decode(data, look(data, USUAL), to).image)


def check_told(error: ImageError) -> None:
    """One short sentence."""
    assert 0 < len(str(error)) < 200
    assert "\n" not in str(error)


def noise(width: int = 64, height: int = 48) -> Values:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


#: What a viewer does for each orientation, by the words of EXIF 2.3: where the first row and the first column are seen.
UPRIGHT = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: stored.swapaxes(0, 1)[:, ::-1],
    7: lambda stored: stored.swapaxes(0, 1)[::-1, ::-1],
    8: lambda stored: stored.swapaxes(0, 1)[::-1],
}


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_an_image_is_seen_upright(form: str, orientation: int) -> None:
    told: dict[str, Any] = {"tiffinfo": {274: orientation}} if form == "TIFF" else {"exif": exif(orientation)}
    data = exact(form, **told)
    seen = decode(data, look(data, USUAL), COLOURS)
    wanted = UPRIGHT[orientation](shown(exact(form)))
    assert (np.asarray(seen.image) == wanted).all()
    assert (seen.height, seen.width) == wanted.shape[:2]


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_an_image_that_is_scaled_is_as_large_as_needed_whichever_way_it_lies(orientation: int) -> None:
    data = encoded(picture(1000, 700), "JPEG", exif=exif(orientation))
    seen = decode(data, look(data, USUAL), recipe(height=80, width=120, resize="squash"))
    assert (seen.width, seen.height) == ((700, 1000) if orientation > 4 else (1000, 700))
    assert seen.image.size == ((350, 500) if orientation > 4 else (250, 175))


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"short_side": 256}, (512, 768)),
        ({"short_side": 257}, (1024, 1536)),
        ({"short_side": 128}, (256, 384)),
        ({"short_side": 129}, (512, 768)),
        ({"short_side": 600}, (2048, 3072)),
        ({"short_side": 10}, (256, 384)),
        ({"height": None, "width": None, "short_side": 128, "crop": False}, (256, 384)),
        ({"resize": "squash", "height": 224, "width": 224}, (512, 768)),
        ({"resize": "squash", "height": 20, "width": 768}, (1024, 1536)),
        ({"resize": "letterbox", "height": 500, "width": 384}, (512, 768)),
        ({"resize": "letterbox", "height": 500, "width": 192}, (256, 384)),
    ],
)
def test_a_jpeg_comes_as_small_as_twice_what_is_needed_allows(changes: dict[str, object], wanted: tuple[int, int]) -> None:
    data = encoded(np.zeros((2048, 3072, 3), np.uint8), "JPEG")
    seen = decode(data, look(data, USUAL), recipe(**changes))
    assert seen.image.size == wanted[::-1]
    assert (seen.width, seen.height) == (3072, 2048)
    assert seen.shrunk == 3072 // wanted[1]


def test_a_scaled_jpeg_looks_like_the_whole_one_once_it_is_resized() -> None:
    data = encoded(picture(1600, 1200), "JPEG", quality=95)
    whole = np.asarray(Image.open(BytesIO(data)).resize((341, 256), Image.Resampling.BILINEAR)).astype(int)
    small = np.asarray(Image.fromarray(shown(data)).resize((341, 256), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(whole - small).mean() < 0.5
    assert np.abs(whole - small).max() <= 8


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("size", [(1921, 1081), (1033, 2047), (1287, 1293)])
@pytest.mark.parametrize("rule", [{"resize": "short_side"}, {"resize": "letterbox"}, {"resize": "squash"}])
def test_a_jpeg_of_a_size_that_does_not_divide_lies_where_the_whole_one_does(
    rule: dict[str, Any], size: tuple[int, int], orientation: int
) -> None:
    data = encoded(picture(*size), "JPEG", quality=95, exif=exif(orientation))
    to = recipe(**rule, height=64, width=64, short_side=70, mean=(0.0,) * 3, std=(1.0,) * 3, scale=1.0)
    whole = Image.fromarray(UPRIGHT[orientation](np.asarray(Image.open(BytesIO(data)))))
    seen = decode(data, look(data, USUAL), to)
    assert seen.shrunk > 1
    found, wanted = preprocess(seen, to), preprocess(Pixels.of(whole), to)
    assert np.abs(found - wanted).mean() < 0.25
    assert np.abs(found - wanted).max() <= 2


def test_a_jpeg_has_the_shape_of_its_own_size_and_not_of_the_one_it_was_decoded_to() -> None:
    to = recipe(height=None, width=None, crop=False, short_side=224)
    data = encoded(np.zeros((5001, 1001, 3), np.uint8), "JPEG")
    assert prepare(data, look(data, USUAL), to).row.shape == (3, 1119, 224)


@pytest.mark.parametrize("sixteenth", range(1, 16))
@pytest.mark.parametrize("form", FORMATS)
def test_an_image_that_is_cut_off_is_bad_wherever_it_is_cut(form: str, sixteenth: int) -> None:
    data = exact(form, noise())
    with pytest.raises(BadImage, match=r"ends|damaged"):
        shown(data[: len(data) * sixteenth // 16])


@pytest.mark.parametrize("sixteenth", range(1, 16))
def test_a_progressive_jpeg_that_is_cut_off_is_bad(sixteenth: int) -> None:
    data = encoded(noise(), "JPEG", progressive=True)
    with pytest.raises(BadImage):
        shown(data[: len(data) * sixteenth // 16])


@pytest.mark.parametrize("sixteenth", range(1, 16))
@pytest.mark.parametrize("form", ["GIF", "PNG", "TIFF", "WEBP"])
def test_an_animation_that_is_cut_off_is_bad_or_shows_its_whole_first_frame(form: str, sixteenth: int) -> None:
    data = animated(form, 8)
    try:
        assert (shown(data[: len(data) * sixteenth // 16]) == shown(data)).all()
    except BadImage:
        return
    assert sixteenth > 2


@pytest.mark.parametrize("form", FORMATS)
def test_an_image_whose_pixels_are_rubbish_is_bad_or_a_picture(form: str) -> None:
    data = bytearray(exact(form, noise()))
    data[len(data) // 2 : len(data) // 2 + 200] = bytes(200)
    try:
        assert shown(bytes(data)).shape == (48, 64, 3)
    except BadImage as error:
        check_told(error)


def test_what_is_wrong_is_said_without_the_decoders_words() -> None:
    with pytest.raises(BadImage) as caught:
        shown(exact("JPEG", noise())[:2000])
    assert str(caught.value) == "the JPEG ends before its last pixel"
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("error", [MemoryError(), SyntaxError("x"), OverflowError(), TypeError("NoneType"), RecursionError()])
def test_whatever_a_decoder_raises_is_a_bad_image(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(image: ImageFile.ImageFile) -> None:
        raise error

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with pytest.raises(BadImage, match=r"^the PNG is damaged$"):
        shown(exact("PNG"))


def test_a_size_that_the_decoder_finds_and_the_header_did_not_is_damage() -> None:
    header = look(exact("PNG"), USUAL)
    with pytest.raises(BadImage, match="tell different sizes"):
        decode(exact("PNG", picture(30, 20)), header, COLOURS)


@pytest.mark.parametrize("profile", [b"", b"nonsense", bytes(100_000)])
def test_a_colour_profile_that_is_nonsense_is_not_looked_at(profile: bytes) -> None:
    for form in ("JPEG", "PNG", "TIFF", "WEBP"):
        assert (shown(exact(form, icc_profile=profile)) == shown(exact(form))).all()


def test_the_decoders_own_bounds_and_leniency_are_as_they_were() -> None:
    shown(exact("PNG"))
    assert Image.MAX_IMAGE_PIXELS == 89_478_485
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_no_other_plugin_is_asked() -> None:
    """A fresh process, as others in this one may have asked Pillow for all."""
    program = (
        "from models.vision import decode, header; from PIL import Image; import image_files as f, json\n"
        "for form in f.FORMATS:\n"
        "    data = bytes.fromhex(input()); decode.decode(data, header.look(data, header.Bounds()), f.COLOURS)\n"
        "print(json.dumps(list(Image.OPEN)))"
    )
    files = "\n".join(exact(form).hex() for form in FORMATS)
    done = subprocess.run([sys.executable, "-c", program], input=files, capture_output=True, text=True, check=True, env=_path())
    assert set(json.loads(done.stdout)) <= {*FORMATS, "PPM", "DIB", "JPEG2000", "MPO"}


def _path() -> dict[str, str]:
    return {"PYTHONPATH": ":".join(path for path in sys.path if path)}


def test_many_threads_decode_at_once() -> None:
    files = {form: exact(form) for form in FORMATS}
    alone = {form: shown(data) for form, data in files.items()}
    with ThreadPoolExecutor(8) as pool:
        for form, found in pool.map(lambda form: (form, shown(files[form])), list(FORMATS) * 20):
            assert (found == alone[form]).all()


def test_a_shape_that_a_model_cannot_be_given_is_refused_before_it_is_decoded() -> None:
    data = png(70_000, 1, 8, 0, b"", chunk(b"eXIf", exif(6)[6:]))  # without its pixels
    with pytest.raises(ImageTooLarge, match="1 x 70000 pixels; expected at most 65535 on a side"):
        prepare(data, look(data, USUAL), COLOURS)


#: Bytes a pixel, of an image in RGBA: what the decoder holds, the image, and what lies flat on its background.
MOST_A_PIXEL = 20


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read where Linux tells it")
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "TIFF"])
def test_memory_is_a_few_times_the_pixels(form: str) -> None:
    """Peak of a process of its own, as decoders take theirs where tracemalloc does not see it."""
    side = 2500
    image = Image.new("L" if form == "GIF" else "RGB" if form == "JPEG" else "RGBA", (side, side), 99)
    data = encoded(
        image, form, **({"progressive": True} if form == "JPEG" else {"compression": "tiff_lzw"} if form == "TIFF" else {})
    )
    program = (
        "import re, sys; from pathlib import Path; from models.vision import decode, header; import image_files as f\n"
        "def go(data): decode.decode(data, header.look(data, header.Bounds()), f.recipe(short_side=4000))\n"
        "def peak(): return int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) * 1024\n"
        "go(f.exact(sys.argv[1]))\n"
        "data = sys.stdin.buffer.read(); before = peak(); go(data); print(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", program, form], input=data, capture_output=True, check=True, env=_path())
    assert int(done.stdout) < MOST_A_PIXEL * side * side


SEEDS = [
    *(exact(form) for form in FORMATS),
    *(animated(form, 3) for form in ("GIF", "PNG", "TIFF", "WEBP")),
    encoded(picture(), "JPEG", progressive=True, exif=exif(6), icc_profile=bytes(50)),
    encoded(Image.fromarray(picture()).convert("CMYK"), "JPEG"),
    encoded(Image.fromarray(picture()).quantize(16), "PNG", transparency=bytes(range(16))),
    encoded(picture(), "TIFF", compression="tiff_lzw"),
    encoded(picture(), "TIFF", compression="jpeg"),
    tiff_of(picture()[:, :, :2].astype(np.uint16) * 257, 1, ">", 8, extra=[1], predictor=True),
    tiff_of(picture()[:, :, :1].astype(np.float32) / 255, 0, ">", 8),
    tiff_of(picture(), 2, planes=True),
    png(2, 1, 16, 2, bytes(13), chunk(b"tRNS", bytes(6))),
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A good file with bits turned, pieces cut out, doubled, overwritten, or another's in their place."""
    data = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 8))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 64)))
        match draw(st.sampled_from(("flip", "cut", "off", "double", "instead", "splice"))):
            case "flip" if start < len(data):
                data = data[:start] + bytes([data[start] ^ 1 << draw(st.integers(0, 7))]) + data[start + 1 :]
            case "cut":
                data = data[:start] + data[end:]
            case "off":
                data = data[:start]
            case "double":
                data = data[:end] + data[start:end] * draw(st.integers(1, 9)) + data[end:]
            case "instead":
                data = data[:start] + draw(st.binary(min_size=end - start, max_size=end - start)) + data[end:]
            case "splice":
                data = data[:start] + draw(st.sampled_from(SEEDS))[start:]
    return data


WITHOUT_CLOCK = settings(
    max_examples=300, deadline=None, database=None, phases=[Phase.generate, Phase.shrink], suppress_health_check=list(HealthCheck)
)


@WITHOUT_CLOCK
@given(mutated(), st.sampled_from([COLOURS, GREY]))
def test_of_a_mutated_image_comes_a_picture_or_an_error_of_ours(data: bytes, to: Recipe) -> None:
    try:
        header = look(data, SMALL)
        seen = decode(data, header, to)
    except ImageError as error:
        check_told(error)
        return
    values = np.asarray(seen.image)
    assert values.dtype == np.uint8
    assert values.shape[:2] == (seen.height, seen.width)
    assert values.ndim == (2 if to is GREY else 3)
    assert header.width * header.height <= SMALL.pixels


@WITHOUT_CLOCK
@given(st.binary(max_size=300))
def test_any_bytes_are_an_error_of_ours_or_a_header(data: bytes) -> None:
    try:
        look(data, SMALL)
    except (BadImage, NotAnImage) as error:
        check_told(error)


@pytest.fixture(autouse=True)
def _nothing_is_written_to_stderr(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Decoders in C write their complaints there."""
    yield
    assert capfd.readouterr().err == ""
