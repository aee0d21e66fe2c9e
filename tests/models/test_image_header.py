"""What is judged of an image before it is decoded: format, pixels, frames."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from image_files import FORMATS, TIFF_ENTRIES, animated, bomb, chunk, encoded, exact, exif, picture, png, tiff
from PIL import Image

from models.errors import BadImage, ImageError, ImageTooLarge, NotAnImage
from models.vision.header import Bounds, Header, look

USUAL = Bounds()


def _refusal(kind: type[ImageError], data: bytes, bounds: Bounds = USUAL) -> str:
    with pytest.raises(kind) as caught:
        look(data, bounds)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert len(sentence) < 200
    assert "PIL" not in sentence
    return sentence


@pytest.mark.parametrize("form", FORMATS)
def test_a_header_says_format_size_and_frames(form: str) -> None:
    assert look(exact(form), USUAL) == Header(form, 61, 43, 1)


@pytest.mark.parametrize("form", FORMATS)
def test_an_image_of_as_many_pixels_as_may_be_is_taken_and_one_more_is_not(form: str) -> None:
    assert look(exact(form), Bounds(pixels=61 * 43))
    assert "61 x 43 pixels, which is 2,623: 2,622 may be" in _refusal(ImageTooLarge, exact(form), Bounds(pixels=61 * 43 - 1))


@pytest.mark.parametrize("form", ["GIF", "PNG", "TIFF", "WEBP"])
def test_frames_are_counted_up_to_as_many_as_may_be(form: str) -> None:
    data = animated(form, 12)
    assert look(data, Bounds(frames=12)).frames == 12
    assert "more than 11 frames" in _refusal(ImageTooLarge, data, Bounds(frames=11))


def test_a_bomb_is_refused_by_its_header_without_memory() -> None:
    data = bomb()
    tracemalloc.start()
    assert "50000 x 50000 pixels, which is 2,500,000,000: 50,000,000 may be" in _refusal(ImageTooLarge, data)
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()


def test_a_bomb_is_refused_before_the_rest_of_it_is_read() -> None:
    assert _refusal(ImageTooLarge, bomb()[:33])


def test_frames_that_an_apng_claims_and_has_not_are_too_many() -> None:
    claim = chunk(b"acTL", struct.pack(">II", 4_000_000_000, 0))
    assert "more than 1,000 frames" in _refusal(ImageTooLarge, png(1, 1, 8, 0, b"\0\0", claim))


def test_frames_that_an_apng_has_and_does_not_claim_are_too_many() -> None:
    frame = chunk(b"fcTL", bytes(26))
    assert "more than 3 frames" in _refusal(ImageTooLarge, png(1, 1, 8, 0, b"\0\0", *[frame] * 4), Bounds(frames=3))


def test_an_apng_that_claims_no_frames_has_its_still_one() -> None:
    assert look(png(1, 1, 8, 0, b"\0\0", chunk(b"acTL", bytes(8))), USUAL).frames == 1


def test_a_gif_is_as_large_as_its_first_frame_needs() -> None:
    data = bytearray(exact("GIF"))
    data[6:10] = struct.pack("<HH", 5, 50)
    assert look(bytes(data), USUAL) == Header("GIF", 61, 50, 1)


def test_a_gif_whose_frame_lies_far_outside_its_screen_is_too_large() -> None:
    data = bytearray(exact("GIF"))
    at = data.index(b"\x2c\0\0\0\0\x3d\0\x2b\0")
    data[at + 1 : at + 5] = struct.pack("<HH", 65_000, 65_000)
    assert "65061 x 65043 pixels" in _refusal(ImageTooLarge, bytes(data))


def test_a_gif_of_endless_tiny_blocks_is_given_up() -> None:
    data = exact("GIF")
    comment = b"\x21\xfe" + b"\x01x" * 400_000 + b"\0"
    assert "more blocks than such an image needs" in _refusal(BadImage, data[:-1] + comment + data[-1:])


def test_a_png_of_endless_tiny_chunks_is_given_up() -> None:
    assert "more chunks than such an image needs" in _refusal(BadImage, png(1, 1, 8, 0, b"\0\0", *[chunk(b"teSt", b"")] * 130_000))


def test_a_jpeg_of_endless_tiny_segments_is_given_up() -> None:
    data = exact("JPEG")
    assert "segments before its pixels" in _refusal(BadImage, data[:2] + b"\xff\xfe\0\2" * 20_000 + data[2:])


def test_what_fills_the_space_between_segments_is_stepped_over_once() -> None:
    data = exact("JPEG")
    assert look(data[:2] + b"\xff" * 1_000_000 + data[2:], USUAL) == look(data, USUAL)
    assert "before its pixels begin" in _refusal(BadImage, data[:3] + b"\xff" * 1_000_000)


def test_a_jpeg_of_endless_scans_is_given_up() -> None:
    data = encoded(picture(), "JPEG", progressive=True)
    scan = data[data.index(b"\xff\xda") : data.index(b"\xff\xc4", data.index(b"\xff\xda"))]
    assert "more than 100 scans" in _refusal(BadImage, data[:-2] + scan * 100 + data[-2:])


def test_the_largest_jpeg_that_may_be_has_few_scans() -> None:
    data = encoded(picture(), "JPEG", progressive=True)
    scan = data[data.index(b"\xff\xda") : data.index(b"\xff\xc4", data.index(b"\xff\xda"))]
    many = data[:-2] + scan * 20 + data[-2:]
    assert look(many, USUAL)
    assert "more than 20 scans" in _refusal(BadImage, many, Bounds(pixels=61 * 43))


def test_what_follows_a_jpeg_is_no_scan_of_its_own() -> None:
    assert look(exact("JPEG") + b"\xff\xda\0\2" * 200, USUAL) == look(exact("JPEG"), USUAL)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_of_far_fewer_pixels_than_it_says_is_cut_off(progressive: bool) -> None:
    data = bytearray(encoded(picture(64, 48), "JPEG", quality=95, progressive=progressive))
    at = data.index(b"\xff\xc2" if progressive else b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 7000, 7000)
    assert _refusal(BadImage, bytes(data)) == "the JPEG ends before its last pixel"


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_blocks": 1}, {"optimize": True}]
)
@pytest.mark.parametrize("size", [(2000, 1000), (1, 3000), (3000, 1), (17, 9), (1, 1)])
def test_a_jpeg_of_one_colour_has_all_its_pixels(size: tuple[int, int], options: dict[str, Any]) -> None:
    for mode in ("L", "RGB", "CMYK"):
        data = encoded(Image.new(mode, size), "JPEG", **options)
        assert (look(data, USUAL).width, look(data, USUAL).height) == size


def test_a_tiff_whose_pages_go_round_is_damaged() -> None:
    data = tiff(TIFF_ENTRIES, bytes(8))
    assert "go round in a circle" in _refusal(BadImage, data[:-4] + data[4:8])


def test_a_tiff_of_large_tiles_under_a_small_image_is_too_large() -> None:
    tiles = [
        (256, 3, 1, 4),
        (257, 3, 1, 2),
        (262, 3, 1, 1),
        (322, 4, 1, 60_000),
        (323, 4, 1, 60_000),
        (324, 4, 1, 8),
        (325, 4, 1, 8),
    ]
    assert "tiles have 60000 x 60000 pixels" in _refusal(ImageTooLarge, tiff(tiles, bytes(8)))


def test_a_tiff_with_fewer_strips_than_it_needs_is_damaged() -> None:
    data = tiff([*TIFF_ENTRIES[:5], (273, 4, 1, 8), (278, 3, 1, 1)], bytes(8))
    assert "2 strips or tiles are needed, 1 are told" in _refusal(BadImage, data)


def test_a_tiff_whose_strips_lie_over_each_other_is_damaged() -> None:
    data = tiff([*TIFF_ENTRIES[:5], (273, 3, 2, 8 | 8 << 16), (278, 3, 1, 1), (279, 3, 2, 90 | 90 << 16)], bytes(8))
    assert "lie over each other" in _refusal(BadImage, data)


def test_a_tiff_of_very_many_strips_is_refused() -> None:
    height = 70_000
    pixels = np.full(height, 8, "<u4").tobytes()
    strips = [(256, 3, 1, 1), (257, 4, 1, height), (262, 3, 1, 1), (273, 4, height, 8), (278, 3, 1, 1)]
    assert "a TIFF of 70,000 strips or tiles" in _refusal(NotAnImage, tiff(strips, pixels))


def test_a_tiff_whose_tag_has_many_values_for_one_is_damaged() -> None:
    assert "its tag 257 has 2 values" in _refusal(BadImage, tiff([(256, 3, 1, 4), (257, 3, 2, 2)], bytes(8)))


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
def test_an_image_of_no_width_or_height_is_bad(size: tuple[int, int]) -> None:
    width, height = size
    files = [png(width, height, 8, 0, b"\0")]
    jpeg = bytearray(exact("JPEG"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", height, width)
    bmp = bytearray(exact("BMP"))
    bmp[18:26] = struct.pack("<ii", width, height)
    gif = bytearray(exact("GIF"))
    start = gif.index(b"\x2c\0\0\0\0")
    gif[start + 5 : start + 9] = struct.pack("<HH", width, height)
    webp = bytearray(encoded(picture(), "WEBP"))
    webp[26:30] = struct.pack("<HH", width, height)
    files += [bytes(file) for file in (jpeg, bmp, gif, webp)] + [tiff([(256, 3, 1, width), (257, 3, 1, height)])]
    for data in files:
        assert f"{width} x {height} pixels" in _refusal(BadImage, data)


def test_nothing_is_an_empty_image() -> None:
    assert _refusal(BadImage, b"") == "the image is empty (0 bytes)"


@pytest.mark.parametrize("data", [b"\xff\xd8", b"\x89PNG\r", b"GIF8", b"II*", b"\xff\xd8\xff", b"GIF89a", b"MM\0*\0\0"])
def test_a_first_mark_and_no_more_is_an_image_cut_short(data: bytes) -> None:
    assert f"ends after {len(data)} bytes" in _refusal(BadImage, data)


@pytest.mark.parametrize(
    ("data", "looks"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- made by hand -->\n<svg/>", "an SVG drawing"),
        (b"<svg:svg xmlns:svg='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        (b'<?xml version="1.0"?>\n<!-- Generator -->\n<!DOCTYPE svg PUBLIC "a" "b">\n<svg>', "an SVG drawing"),
        (b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY ns "x">' + b" " * 2000, "an SVG drawing"),
        (b"<?xml version='1.0'?>\n<?xml-stylesheet href='a.css'?><!-- a --><!-- b -->\n<svg/>", "an SVG drawing"),
        ("<?xml version='1.0'?><svg/>".encode("utf-16"), "an SVG drawing"),
        ("\ufeff<svg/>".encode("utf-16-be"), "an SVG drawing"),
        (b"<?xml version='1.0'?><note/>", "XML"),
        (b"<?xml version='1.0'?><!-- <svg> -->" + b"<!-- -->" * 200, "XML"),
        (b"<!DOCTYPE html><title>404</title>", "an HTML page"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"%!PS-Adobe-3.0", "PostScript"),
        (b'{"instances": [1]}', "JSON"),
        (b"[[1, 2]]", "JSON"),
        (b"PK\x03\x04" + bytes(20), "a ZIP archive or an office document"),
        (b"\x1f\x8b\x08" + bytes(20), "gzip: send it unpacked, or with Content-Encoding"),
        (b"\0\0\0\x18ftypheic" + bytes(8), "a HEIC image"),
        (b"\0\0\0\x18ftypavif" + bytes(8), "an AVIF image"),
        (b"\0\0\0\x18ftypisom" + bytes(8), "a video"),
        (b"\x1aE\xdf\xa3" + bytes(20), "a video"),
        (b"RIFF\0\0\0\0AVI LIST", "a video"),
        (b"RIFF\0\0\0\0WAVEfmt ", "sound"),
        (b"ID3\x04" + bytes(20), "sound"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"),
        (b"\xff\x0a" + bytes(20), "a JPEG XL image"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image"),
        (b"8BPS\0\1", "a Photoshop document"),
        (b"\0\0\1\0\1\0", "an icon (ICO)"),
        (b"II*\0\x10\0\0\0CR\2\0", "a camera's raw file"),
        (b"II+\0\x08\0\0\0", "a BigTIFF image"),
        (b"P6\n4 4\n255\n", "a PNM image"),
        (b"qoif", "a QOI image"),
        (b"\x93NUMPY\1\0", "a NumPy array"),
        (b"\x80\x04\x95" + bytes(8), "a Python pickle"),
        (b"\x08\x08\x12\x07pytorch\x1a\x012", "an ONNX model"),
        (b"\x7fELF\2\1", "a program"),
        (b"data:image/png;base64,iVBORw0KGgo=", "a data: URL: send the bytes that it stands for"),
        (b"iVBORw0KGgoAAAANSUhEUg==", "an image in base64: send its bytes"),
        (b"/9j/4AAQSkZJRgABAQ", "an image in base64: send its bytes"),
        (b"https://example.com/cat.jpg\n", "a URL: send the image itself"),
        (b"--x\r\nContent-Disposition: form-data", "a multipart body: send it with its Content-Type"),
        (b"BM is how a word may begin, and a sentence", "text"),
        ("GIF heißt nicht, dass es eines ist".encode(), "text"),
        (("ä" * 2000).encode(), "text"),
        ("Text".encode("utf-16"), "text"),
        (bytes(5000), "nothing but zeros"),
        (b"\xde\xad\xbe\xef" * 9, "no image that is known here"),
    ],
)
def test_what_is_no_image_is_told_what_it_looks_like(data: bytes, looks: str) -> None:
    assert _refusal(NotAnImage, data) == f"this looks like {looks}: JPEG, PNG, WebP, GIF, BMP and TIFF are taken"


@pytest.mark.parametrize("form", ["ICO", "JPEG2000", "PPM", "TGA", "DDS", "AVIF", "PCX", "SGI", "QOI", "PDF"])
def test_other_formats_of_pillows_are_not_taken(form: str) -> None:
    assert "this looks like" in _refusal(NotAnImage, encoded(picture(64, 64), form))


def test_a_jpeg_of_twelve_bits_is_refused_as_such() -> None:
    data = bytearray(exact("JPEG"))
    data[data.index(b"\xff\xc0") + 4] = 12
    assert _refusal(NotAnImage, bytes(data)) == "this is a JPEG of 12 bits a sample: one of 8 is taken"


def test_jpeg_ls_is_refused_as_such() -> None:
    data = exact("JPEG")
    assert "a JPEG-LS image" in _refusal(NotAnImage, data.replace(b"\xff\xc0", b"\xff\xf7", 1))


def test_a_png_for_apples_devices_is_refused_as_such() -> None:
    data = exact("PNG")
    assert "(CgBI)" in _refusal(NotAnImage, data[:8] + chunk(b"CgBI", b"\x50\0\x20\6") + data[8:])


def test_a_bmp_of_run_lengths_is_refused_as_such() -> None:
    data = bytearray(exact("BMP", picture()))
    data[30:34] = struct.pack("<I", 1)
    assert "a BMP of run lengths" in _refusal(NotAnImage, bytes(data))


def test_a_bmp_of_more_colours_than_a_byte_can_tell_is_damaged() -> None:
    data = bytearray(encoded(Image.fromarray(picture()).quantize(16), "BMP"))
    data[46:50] = struct.pack("<I", 257)
    assert "a palette of 257 colours for 8 bits a pixel" in _refusal(BadImage, bytes(data))


def bmp(bits: int, *masks: int, header: int = 40, width: int = 4) -> bytes:
    """Two rows of pixels that are 0; with masks of bits where some are given, in the header where it has room for them."""
    told = struct.pack(f"<{len(masks)}I", *masks)
    head = struct.pack("<IiiHHIIiiII", header, width, 2, 1, bits, 3 if masks else 0, 0, 0, 0, 0, 0) + told
    head = head.ljust(header, b"\0")
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + len(head)) + head + bytes(8 * max(bits, 8))


@pytest.mark.parametrize("masks", [(0xF800, 0x7E0, 0x1F), (0x7C00, 0x3E0, 0x1F)])
def test_a_bmp_of_16_bits_a_pixel_is_taken_by_the_masks_that_are_used(masks: tuple[int, ...]) -> None:
    assert look(bmp(16, *masks), USUAL) == Header("BMP", 4, 2, 1)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (bmp(16, 0xF00, 0xF0, 0xF), "16 bits a pixel by the masks f00, f0, f, 0"),
        (bmp(32, 0xFF, 0xFF00, 0xFF0000), "32 bits a pixel by the masks ff, ff00, ff0000, 0"),
        (bmp(32, 0x3FF00000, 0xFFC00, 0x3FF), "by the masks 3ff00000, ffc00, 3ff, 0"),
        (bmp(32, 0xFF, 0xFF00, 0xFF0000, 0xFF, header=108), "by the masks ff, ff00, ff0000, ff"),
        (bmp(8, 0xE0, 0x1C, 3), "8 bits a pixel by the masks e0, 1c, 3, 0"),
        (bmp(2), "a BMP of 2 bits a pixel: 1, 4, 8, 16, 24 and 32 are taken"),
        (bmp(64), "a BMP of 64 bits a pixel"),
        (bmp(1, 1, header=64), "a BMP of Huffman's code"),
        (b"BM" + struct.pack("<IHHIIIIHH", 0, 0, 0, 30, 16, 4, 2, 1, 24) + bytes(24), "a BMP with OS/2's header of 16 bytes"),
    ],
)
def test_a_bmp_of_rare_bits_is_refused_as_such(data: bytes, words: str) -> None:
    assert words in _refusal(NotAnImage, data)


def test_a_bmp_of_negative_width_says_so() -> None:
    assert _refusal(BadImage, bmp(24, width=-20)) == "the image says that it is -20 x 2 pixels"


@pytest.mark.parametrize(("code", "name"), [(6, "old JPEG"), (50000, "zstd"), (77, "code 77")])
def test_a_tiff_of_a_rare_compression_is_refused_as_such(code: int, name: str) -> None:
    entries = [(259, 3, 1, code) if entry[0] == 259 else entry for entry in TIFF_ENTRIES]
    assert f"a TIFF compressed by {name}" in _refusal(NotAnImage, tiff(entries, bytes(8)))


def test_a_checksum_that_is_not_that_of_its_bytes_is_damage() -> None:
    data = bytearray(exact("PNG"))
    data[data.index(b"IDAT") + 20] ^= 1
    assert "a checksum is not that of its bytes" in _refusal(BadImage, bytes(data))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_read_in_either_byte_order(orientation: int, order: str) -> None:
    assert look(encoded(picture(), "JPEG", exif=exif(orientation, order)), USUAL).orientation == orientation


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_orientation_is_read_as_a_long_number_too(order: str) -> None:
    block = exif(6, order)
    block = block[:-14] + struct.pack(order + "HII", 4, 1, 6) + bytes(4)
    assert look(encoded(picture(), "JPEG", exif=block), USUAL).orientation == 6
    assert look(tiff([*TIFF_ENTRIES[:5], (273, 4, 1, 8), (274, 4, 1, 6), (279, 4, 1, 8)], bytes(8), order), USUAL).orientation == 6


@pytest.mark.parametrize(
    "nonsense",
    [b"Exif\0\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0hello", exif(0), exif(9), exif(6)[:20], exif(6)[:6] + b"\xff" * 99],
)
def test_exif_that_is_nonsense_leaves_the_image_as_it_is(nonsense: bytes) -> None:
    assert look(encoded(picture(), "JPEG", exif=nonsense), USUAL).orientation == 1


def test_text_is_never_unpacked() -> None:
    packed = zlib.compress(bytes(50_000_000))
    data = png(1, 1, 8, 0, b"\0\0", *[chunk(b"zTXt", b"Comment\0\0" + packed)] * 10, chunk(b"iCCP", b"x\0\0" + packed))
    tracemalloc.start()
    header = look(data, USUAL)
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()
    assert sum(map(len, header.kept)) < 100


def test_what_is_kept_of_a_file_is_a_file_of_its_own() -> None:
    image = Image.fromarray(np.asarray(picture()))
    for data in (
        encoded(image, "JPEG", exif=exif(3), comment=b"hello", icc_profile=bytes(5000)),
        encoded(image, "PNG", icc_profile=bytes(5000), exif=exif(3)),
        encoded(image, "TIFF", tiffinfo={270: "hello", 274: 3}, compression="tiff_lzw"),
        animated("GIF", 5),
        animated("TIFF", 5),
        animated("PNG", 5),
    ):
        header = look(data, USUAL)
        alone = look(b"".join(header.kept), USUAL)
        assert (alone.width, alone.height, alone.frames, alone.orientation) == (header.width, header.height, 1, 1)
