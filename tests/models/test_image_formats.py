"""Every format in every colour mode becomes the same picture, in RGB and in grey."""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt
import pytest
from image_files import COLOURS, FORMATS, GREY, TIFF_ENTRIES, Values, chunk, encoded, exact, grey, picture, png, recipe, tiff
from PIL import Image, ImageCms

from models.errors import BadImage
from models.vision.decode import decode
from models.vision.header import Bounds, look
from models.vision.recipe import Recipe

PICTURE = picture()
ALPHA = np.broadcast_to(np.linspace(0, 255, 61).astype(np.uint8), (43, 61))
BACKGROUND = (10, 200, 60)


def decoded(data: bytes, to: Recipe = COLOURS) -> npt.NDArray[np.int64]:
    return np.asarray(decode(data, look(data, Bounds()), to).image).astype(np.int64)


def assert_shows(data: bytes, expected: Values, mean: float = 0.0, most: int = 0) -> None:
    """In colours; and in grey the grey of it, to a rounding of each."""
    if expected.ndim == 2:
        expected = np.repeat(expected[:, :, None], 3, axis=2)
    for to, wanted, slack in ((COLOURS, expected, 0), (GREY, grey(expected), 1)):
        found = decoded(data, to)
        assert found.shape == wanted.shape
        off = np.abs(found - wanted)
        assert off.mean() <= mean + slack / 2
        assert off.max() <= most + slack


def composed(colours: Values, alpha: Values, background: tuple[int, int, int] = (255, 255, 255)) -> Values:
    share = alpha[:, :, None] / 255.0
    return np.rint(colours * share + np.array(background) * (1 - share)).astype(np.uint8)


def with_alpha(colours: Values = PICTURE) -> Image.Image:
    return Image.fromarray(np.dstack([colours, ALPHA]))


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "WEBP"])
def test_colours_of_formats_without_loss_are_exact(form: str) -> None:
    assert_shows(exact(form), PICTURE)


@pytest.mark.parametrize(("form", "mean"), [("JPEG", 2.0), ("WEBP", 4.0)])
def test_colours_of_formats_with_loss_are_near(form: str, mean: float) -> None:
    smooth = np.asarray(Image.fromarray(PICTURE).resize((244, 172), Image.Resampling.BICUBIC))
    options = {"subsampling": 0} if form == "JPEG" else {}
    assert_shows(encoded(smooth, form, quality=92, **options), smooth, mean, 40)


@pytest.mark.parametrize("progressive", [True, False])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_a_jpeg_is_decoded_however_it_is_laid_out(subsampling: int, progressive: bool) -> None:
    data = encoded(PICTURE, "JPEG", quality=95, subsampling=subsampling, progressive=progressive)
    assert np.abs(decoded(data, GREY) - grey(PICTURE)).max() <= 12


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "GIF"])
def test_grey_is_exact(form: str) -> None:
    assert_shows(encoded(grey(PICTURE), form), grey(PICTURE))


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_grey_with_loss_is_near(form: str) -> None:
    assert_shows(encoded(grey(PICTURE), form, quality=95), grey(PICTURE), 3.0, 25)


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "GIF"])
def test_black_and_white_is_exact(form: str) -> None:
    image = Image.fromarray(PICTURE).convert("1")
    assert_shows(encoded(image, form), np.asarray(image.convert("L")))


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "GIF"])
def test_a_palette_is_looked_up(form: str) -> None:
    image = Image.fromarray(PICTURE).quantize(64)
    assert_shows(encoded(image, form), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_palette_of_few_bits_is_looked_up(bits: int) -> None:
    image = Image.fromarray(PICTURE).quantize(1 << bits)
    assert_shows(encoded(image, "PNG", bits=bits), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
def test_what_is_transparent_shows_the_background(form: str) -> None:
    options = {"lossless": True, "exact": True} if form == "WEBP" else {}
    data = encoded(with_alpha(), form, **options)
    assert_shows(data, composed(PICTURE, ALPHA), 0.5, 1)
    shown = decoded(data, recipe(background=BACKGROUND))
    assert np.abs(shown - composed(PICTURE, ALPHA, BACKGROUND)).max() <= 1
    assert tuple(shown[0, 0]) == BACKGROUND


def test_a_bmp_of_bit_fields_has_transparency() -> None:
    data = encoded(with_alpha(), "BMP")
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    head = struct.pack("<IiiHHIIiiII", 108, 61, 43, 1, 32, 3, 0, 0, 0, 0, 0) + masks + bytes(52)
    pixels = data[struct.unpack_from("<I", data, 10)[0] :]
    data = b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + len(head)) + head + pixels
    assert_shows(data, composed(PICTURE, ALPHA), 0.5, 1)


def test_a_bmp_may_lack_what_fills_up_its_last_row() -> None:
    data = encoded(PICTURE[:, :59], "BMP")
    assert_shows(data[:-3], PICTURE[:, :59])
    with pytest.raises(BadImage, match="its pixels need"):
        look(data[:-4], Bounds())


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_transparent_grey_shows_the_background_in_grey(form: str) -> None:
    data = encoded(Image.merge("LA", [Image.fromarray(grey(PICTURE)), Image.fromarray(ALPHA)]), form)
    flat = np.repeat(grey(PICTURE)[:, :, None], 3, axis=2)
    assert_shows(data, composed(flat, ALPHA), 0.5, 1)
    shown = decoded(data, recipe(channels="L", background=BACKGROUND))
    assert shown[0, 0] == round(10 * 0.299 + 200 * 0.587 + 60 * 0.114)


def test_alpha_that_colours_were_multiplied_by_is_undone() -> None:
    image = Image.fromarray(composed(PICTURE, ALPHA, (0, 0, 0)))
    image.putalpha(Image.fromarray(ALPHA))
    data = bytearray(encoded(image, "TIFF"))
    at = data.index(struct.pack("<HHI", 338, 3, 1))
    data[at + 8] = 1  # ExtraSamples: associated alpha
    found = decoded(bytes(data))
    assert np.abs(found - composed(PICTURE, ALPHA)).max() <= 2


@pytest.mark.parametrize("form", ["PNG", "GIF"])
def test_a_colour_of_a_palette_may_be_transparent(form: str) -> None:
    image = Image.fromarray(PICTURE).quantize(16)
    data = encoded(image, form, transparency=3)
    clear = np.asarray(image) == 3
    assert clear.any()
    shown = decoded(data, recipe(background=BACKGROUND))
    assert (shown[clear] == BACKGROUND).all()
    assert (shown[~clear] == np.asarray(image.convert("RGB"))[~clear]).all()


def test_each_colour_of_a_palette_may_be_transparent_by_degrees() -> None:
    image = Image.fromarray(PICTURE).quantize(16)
    degrees = bytes(range(0, 256, 16))
    alpha = np.frombuffer(degrees, np.uint8)[np.asarray(image)]
    data = encoded(image, "PNG", transparency=degrees)
    assert_shows(data, composed(np.asarray(image.convert("RGB")), alpha), 0.5, 1)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_one_grey_may_be_transparent(depth: int) -> None:
    """Of four samples the second; and a sample that differs from it in its last bit is not."""
    most = (1 << depth) - 1
    samples = [0, most // 2, most // 2 + 1, most] if depth > 1 else [0, 1, 0, 1]
    clear = samples[1]
    packed = "".join(format(sample, f"0{depth}b") for sample in samples).ljust(8, "0")
    row = b"\0" + int(packed, 2).to_bytes(len(packed) // 8, "big")
    data = png(4, 1, depth, 0, row, chunk(b"tRNS", struct.pack(">H", clear)))
    wanted = [1 if sample == clear else round(sample * 255 / most) for sample in samples]
    assert decoded(data, recipe(channels="L", background=(1, 1, 1)))[0].tolist() == wanted


@pytest.mark.parametrize("depth", [8, 16])
def test_one_colour_may_be_transparent(depth: int) -> None:
    samples = [(10, 20, 30), (11, 20, 30)]
    wide = 257 if depth == 16 else 1
    row = b"\0" + b"".join((sample * wide).to_bytes(depth // 8, "big") for pixel in samples for sample in pixel)
    data = png(2, 1, depth, 2, row, chunk(b"tRNS", struct.pack(">HHH", *(sample * wide for sample in samples[0]))))
    assert decoded(data, recipe(background=BACKGROUND))[0].tolist() == [list(BACKGROUND), [11, 20, 30]]


def test_of_colours_of_16_bits_those_next_to_the_transparent_one_are_seen() -> None:
    samples = [(1000, 1000, 1000), (1001, 1000, 1000), (1000, 1000, 999), (1000, 5, 1000)]
    row = b"\0" + struct.pack(">12H", *(sample for pixel in samples for sample in pixel))
    data = png(4, 1, 16, 2, row, chunk(b"tRNS", struct.pack(">HHH", *samples[0])))
    assert decoded(data, recipe(background=BACKGROUND))[0].tolist() == [list(BACKGROUND), [3, 3, 3], [3, 3, 3], [3, 0, 3]]


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_grey_of_16_bits_is_scaled_to_8(form: str) -> None:
    values = np.arange(61 * 43, dtype=np.uint16).reshape(43, 61) * 25
    assert_shows(encoded(Image.fromarray(values), form), np.rint(values / 257).astype(np.uint8))


@pytest.mark.parametrize(("colour", "samples"), [(2, 3), (6, 4), (4, 2)])
def test_other_colours_of_16_bits_are_scaled_to_8(colour: int, samples: int) -> None:
    values = np.random.default_rng(1).integers(0, 65_536, (3, 5, samples)).astype(">u2")
    values[:, :, -1 if samples != 3 else slice(0, 0)] = 65_535
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    found = decoded(png(5, 3, 16, colour, rows))
    wanted = values[:, :, : samples - 1 if samples != 3 else 3] / 257
    assert np.abs(found - wanted).max() <= 1


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_of_either_byte_order_is_read(order: str) -> None:
    pixels = bytes(range(0, 160, 10))
    entries = [
        (258, 3, 1, 16) if tag == 258 else (tag, kind, count, 16 if tag == 279 else at) for tag, kind, count, at in TIFF_ENTRIES
    ]
    found = decoded(tiff(entries, pixels, order), GREY)
    wanted = np.rint(np.frombuffer(pixels, order + "u2") / 257).reshape(2, 4)
    assert (found == wanted).all()


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits", "jpeg"])
def test_a_tiff_is_decompressed(compression: str) -> None:
    loss = (4.0, 60) if compression == "jpeg" else (0.0, 0)
    assert_shows(encoded(PICTURE, "TIFF", compression=compression, **({"quality": 95} if loss[1] else {})), PICTURE, *loss)


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
def test_a_fax_is_decompressed(compression: str) -> None:
    image = Image.fromarray(PICTURE).convert("1")
    assert_shows(encoded(image, "TIFF", compression=compression), np.asarray(image.convert("L")))


def test_whole_numbers_go_from_0_to_65535_and_fractions_from_0_to_1() -> None:
    whole = np.array([[-5, 0, 257, 32_768], [65_535, 70_000, 128, 129]], np.int32)
    assert decoded(encoded(Image.fromarray(whole), "TIFF"), GREY).tolist() == [[0, 0, 1, 128], [255, 255, 0, 1]]
    fractions = np.array([[-1.0, 0.0, 0.5, 1.0], [2.0, np.nan, np.inf, -np.inf]], np.float32)
    assert decoded(encoded(Image.fromarray(fractions), "TIFF"), GREY).tolist() == [[0, 0, 128, 255], [255, 0, 255, 0]]
    signalling = np.array([[0x7FA00000, 0x3F800000]], np.uint32).view(np.float32)
    assert decoded(encoded(Image.fromarray(signalling), "TIFF"), GREY).tolist() == [[0, 255]]


def test_cmyk_becomes_rgb() -> None:
    image = Image.fromarray(PICTURE).convert("CMYK")
    assert_shows(encoded(image, "TIFF"), np.asarray(image.convert("RGB")))
    assert_shows(encoded(image, "JPEG", quality=95), PICTURE, 3.0, 50)


def test_ycck_becomes_rgb() -> None:
    """As Adobe writes it: the inks as luminance and colours, black turned round."""
    inks = Image.fromarray(PICTURE).convert("CMYK")
    luminance = np.asarray(Image.merge("RGB", inks.split()[:3]).convert("YCbCr"))
    turned = [Image.fromarray(np.ascontiguousarray(255 - luminance[:, :, band])) for band in range(3)]
    data = bytearray(encoded(Image.merge("CMYK", [*turned, inks.getchannel("K")]), "JPEG", quality=95))
    data[data.index(b"Adobe") + 11] = 2
    assert_shows(bytes(data), PICTURE, 3.0, 50)


def test_lab_becomes_rgb() -> None:
    way = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    image = ImageCms.applyTransform(Image.fromarray(PICTURE), way)
    assert image is not None
    assert_shows(encoded(image, "TIFF"), PICTURE, 2.0, 30)


def test_ycbcr_becomes_rgb() -> None:
    assert_shows(encoded(Image.fromarray(PICTURE).convert("YCbCr"), "TIFF"), PICTURE, 1.5, 4)


@pytest.mark.parametrize("form", ["GIF", "PNG", "TIFF", "WEBP"])
def test_of_many_frames_the_first_is_seen(form: str) -> None:
    pages = [Image.new("RGB", (40, 30), colour) for colour in ((200, 40, 10), (0, 0, 255), (0, 255, 0))]
    options = {"lossless": True} if form == "WEBP" else {}
    found = decoded(encoded(pages[0], form, save_all=True, append_images=pages[1:], **options))
    assert np.abs(found - (200, 40, 10)).max() <= 1


def test_a_frame_that_is_smaller_than_a_gifs_screen_lies_in_it() -> None:
    data = bytearray(encoded(Image.new("P", (4, 3), 0), "GIF", transparency=1))
    data[6:10] = struct.pack("<HH", 6, 5)
    at = data.index(b"\x2c\0\0\0\0\4\0\3\0")
    data[at + 1 : at + 5] = struct.pack("<HH", 1, 2)
    shown = decoded(bytes(data), recipe(background=BACKGROUND))
    assert shown.shape == (5, 6, 3)
    assert (shown[2:5, 1:5] == 0).all()
    assert (shown[:2] == BACKGROUND).all()


@pytest.mark.parametrize("to", [COLOURS, GREY])
def test_a_gif_shows_the_background_where_its_frame_is_not(to: Recipe) -> None:
    data = bytearray(encoded(Image.fromarray(PICTURE).quantize(256), "GIF"))
    whole = decoded(bytes(data), to)
    data[6:10] = struct.pack("<HH", 70, 50)
    at = data.index(b"\x2c\0\0\0\0\x3d\0\x2b\0")
    data[at + 1 : at + 5] = struct.pack("<HH", 3, 2)
    shown = decoded(bytes(data), to)
    assert (shown[2:45, 3:64] == whole).all()
    shown[2:45, 3:64] = 255
    assert (shown == 255).all()


@pytest.mark.parametrize("flags", [0x02, 0x12])
def test_a_webp_shows_the_background_where_its_first_frame_is_not(flags: int) -> None:
    frame = encoded(PICTURE, "WEBP", lossless=True)[12:]
    place = b"".join(number.to_bytes(3, "little") for number in (2, 1, 60, 42, 100)) + b"\0"
    body = b"VP8X" + struct.pack("<IB", 10, flags) + bytes(3) + b"".join(side.to_bytes(3, "little") for side in (69, 49))
    body += b"ANIM" + struct.pack("<IIH", 6, 0, 0) + b"ANMF" + struct.pack("<I", 16 + len(frame)) + place + frame
    shown = decoded(b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body, recipe(background=BACKGROUND))
    assert (shown[2:45, 4:65] == PICTURE).all()
    shown[2:45, 4:65] = BACKGROUND
    assert (shown == BACKGROUND).all()


@pytest.mark.parametrize("form", FORMATS)
def test_an_image_of_one_pixel_is_one(form: str) -> None:
    assert np.abs(decoded(exact(form, np.full((1, 1, 3), 100, np.uint8))) - 100).max() <= 2
