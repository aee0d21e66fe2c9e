"""What bytes look like, by their first ones: never by a name or a type that came with them."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Final

#: Of the formats that are taken; BMP's two letters alone could be a word's.
_TAKEN: Final = (
    ("JPEG", re.compile(rb"\xff\xd8\xff")),
    ("PNG", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("WEBP", re.compile(rb"RIFF.{4}WEBP", re.DOTALL)),
    ("GIF", re.compile(rb"GIF8[79]a")),
    ("TIFF", re.compile(rb"II\*\x00(?!.{4}CR)|MM\x00\*", re.DOTALL)),
    ("BMP", re.compile(rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\x00\x00\x00", re.DOTALL)),
)
_MARKS: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"GIF87a", b"II*\x00", b"MM\x00*")

#: Brands of the ISO base media format (ISO/IEC 14496-12); any other is a video.
_BRANDS: Final = MappingProxyType(
    {
        **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "a HEIC image"),
        **dict.fromkeys((b"avif", b"avis"), "an AVIF image"),
        b"crx ": "a camera's raw file",
        b"M4A ": "sound",
    }
)

#: What may precede XML's first element; it gives back nothing, so that each byte is looked at once.
_PROLOG: Final = rb"(\xef\xbb\xbf)?+(?>\s|<\?.*?\?>|<!--.*?-->)*+"
#: The first that matches counts.
_OTHERS: Final = tuple(
    (re.compile(pattern, re.DOTALL), name)
    for pattern, name in (
        (rb"\x00\x00\x00\x0cJXL \r\n\x87\n|\xff\x0a", "a JPEG XL image"),
        (rb"\x00\x00\x00\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", "a JPEG 2000 image"),
        (rb"II\xbc\x01", "a JPEG XR image"),
        (rb"II\*\x00.{4}CR|FUJIFILM|II[RU]O|IIRS", "a camera's raw file"),
        (rb"(II\+\x00|MM\x00\+)", "a BigTIFF image"),
        (rb"8BPS", "a Photoshop document"),
        (rb"gimp xcf", "a GIMP document"),
        (rb"\x00\x00\x01\x00[^\x00]", "an icon (ICO)"),
        (rb"\x00\x00\x02\x00[^\x00]", "a cursor (CUR)"),
        (rb"icns", "an icon (ICNS)"),
        (rb"DDS ", "a DDS texture"),
        (rb"qoif", "a QOI image"),
        (rb"v/1\x01", "an OpenEXR image"),
        (rb"#\?RADIANCE|#\?RGBE", "a Radiance HDR image"),
        (rb"P[1-7]\s", "a PNM image"),
        (rb"SIMPLE  =", "a FITS image"),
        (rb".{128}DICM", "a DICOM image"),
        (rb"\x8a[MJ]NG|\x8bJNG", "an MNG image"),
        (rb"AT&TFORM", "a DjVu document"),
        (rb"%PDF-", "a PDF document"),
        (rb"%!PS|\xc5\xd0\xd3\xc6", "PostScript"),
        (rb"\xd7\xcd\xc6\x9a|\x01\x00\x00\x00.{36} EMF", "a Windows metafile"),
        (rb"PK(\x03\x04|\x05\x06)", "a ZIP archive or an office document"),
        (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an office document"),
        (rb"\x1f\x8b", "gzip: send it unpacked, or with Content-Encoding"),
        (rb"BZh[1-9]", "bzip2"),
        (rb"\xfd7zXZ\x00", "xz"),
        (rb"\x28\xb5\x2f\xfd", "zstd"),
        (rb"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        (rb"Rar!\x1a\x07", "a RAR archive"),
        (rb".{257}ustar", "a tar archive"),
        (rb"\x1a\x45\xdf\xa3|FLV\x01|\x00\x00\x01[\xb3\xba]|RIFF.{4}AVI ", "a video"),
        (rb"RIFF.{4}WAVE|ID3|OggS|fLaC", "sound"),
        (rb"\x93NUMPY", "a NumPy array"),
        (rb"\x80[\x02-\x05][\x8a\x8c\x95c}]", "a Python pickle"),
        (rb"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (rb"\x08[\x01-\x20](\x12.[A-Za-z]|\x3a)", "an ONNX model"),
        (rb"PAR1", "a Parquet file"),
        (rb"SQLite format 3\x00", "a SQLite database"),
        (rb"\x7fELF|MZ.{56}|\xca\xfe\xba\xbe", "a program"),
        (_PROLOG + rb"(<!DOCTYPE\s+(\w+:)?svg\b|<(\w+:)?svg[\s/>])", "an SVG drawing"),
        (rb"(?i:(\xef\xbb\xbf)?\s*(<!doctype html|<html|<head|<body))", "an HTML page"),
        (rb"(\xef\xbb\xbf)?\s*<\?xml", "XML"),
        (rb"--[^\r\n]{1,70}\r?\nContent-Disposition:", "a multipart body: send it with its Content-Type"),
        (rb"data:[\w/+.-]*[;,]", "a data: URL: send the bytes that it stands for"),
        (rb"https?://\S+\s*$", "a URL: send the image itself"),
        (rb"/9j/[A-Za-z0-9+/=_-]|iVBORw0KGgo|R0lGOD[dl]h|UklGR[A-Za-z0-9+/]", "an image in base64: send its bytes"),
        (rb"\s*[\[{]\s*[\]}\"\[{\d-]", "JSON"),
    )
)
_UTF_16: Final = re.compile(rb"\xff\xfe[^\x00]\x00|\xfe\xff\x00[^\x00]")
#: So much is looked at, in bytes.
_LOOKED_AT: Final = 1024
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def image_format(data: bytes) -> str | None:
    """The one that it is of those that are taken, as Pillow names it."""
    return next((name for name, mark in _TAKEN if mark.match(data)), None)


def is_cut_short(data: bytes) -> bool:
    """Whether it is the beginning of an image's first bytes and no more."""
    return len(data) > 1 and any(mark.startswith(data) for mark in _MARKS)


def appearance(data: bytes) -> str:
    """What is not an image of a format that is taken, in words that follow "looks like"."""
    start = data[:_LOOKED_AT]
    if start[4:8] == b"ftyp":
        return _BRANDS.get(start[8:12], "a video")
    if _UTF_16.match(start):
        start = start.decode("utf-16", "ignore").encode("utf-8", "ignore")
    if name := next((name for mark, name in _OTHERS if mark.match(start)), None):
        return name
    if not start.strip(b"\x00"):
        return "nothing but zeros"
    return "text" if _is_text(start) else "no image that is known here"


def _is_text(start: bytes) -> bool:
    try:
        start.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(start) - 3 or len(start) < _LOOKED_AT:  # a letter may be cut in two
            return False
    return not _CONTROL.search(start)
