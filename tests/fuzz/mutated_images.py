"""Ten thousand mutated images through the way that uploads take: python -m tests.fuzz.mutated_images [--images N] [--seed S]

In a process of its own, which prints what became of them, the slowest, and its resident memory. Exit status 1 where
anything but a picture or an error of ours came out, 2 where the process was ended: the last image lies beside its name then.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from io import BytesIO
from pathlib import Path
from time import thread_time
from typing import Any, Final

import numpy as np
from PIL import Image

from models.errors import ImageError
from models.vision.header import Bounds, look
from models.vision.prepare import prepare
from tests.fuzz.images import COLOURS, GREY, IMAGE, mended

BOUNDS: Final = Bounds(pixels=4_000_000, frames=100)
_WAYS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("JPEG", {"quality": 85}),
    ("JPEG", {"quality": 85, "progressive": True}),
    ("PNG", {}),
    ("WEBP", {"quality": 80}),
    ("WEBP", {"lossless": True}),
    ("GIF", {}),
    ("BMP", {}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ("TIFF", {"compression": "jpeg"}),
)


def photographs() -> list[bytes]:
    """One of 640 x 480 pixels in each way, and the small ones of the corpus."""
    coarse = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC)
    found = []
    for form, options in _WAYS:
        file = BytesIO()
        image.save(file, form, **options)
        found.append(file.getvalue())
    return found + IMAGE.kept()


def mutate(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """Bits turned, bytes overwritten, pieces cut out or doubled, the end cut off, another's end put on."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 16, 64))):
        at = chance.randrange(len(changed) + 1)
        if chance.random() < 0.4:
            at = min(at, chance.randrange(200))  # headers are short, and most of what can go wrong is in them
        kind, length = chance.randrange(6), chance.choice((1, 2, 4, 8, 100))
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            changed[at : at + length] = chance.randbytes(length)
        elif kind == 2:
            changed[at : at + length] = chance.choice((b"\x00", b"\xff", b"\x7f", b"\x01")) * length
        elif kind == 3:
            del changed[at : at + length]
        elif kind == 4:
            changed[at:at] = changed[at : at + length]
        elif chance.random() < 0.1:
            changed[at:] = b"" if chance.random() < 0.5 else chance.choice(others)[at:]
    return mended(bytes(changed)) if chance.random() < 0.7 else bytes(changed)


def run(images: int, seed: int, last: Path) -> int:
    """In this process; the exit status."""
    chance, seeds = random.Random(seed), photographs()
    outcomes, defects, slowest = Counter[str](), 0, 0.0
    for data in seeds:  # what is imported and allocated at first use is no growth
        one(data, GREY)
    begun = resident()
    for number in range(images):
        data = mutate(chance.choice(seeds), seeds, chance)
        last.write_bytes(data)
        before = thread_time()
        try:
            outcomes[one(data, COLOURS if number % 2 else GREY)] += 1
        except Exception:
            defects += 1
            traceback.print_exc()
            last.with_name(f"{last.name}-{number}").write_bytes(data)
        slowest = max(slowest, thread_time() - before)
    print(
        f"{images:,} mutated images: {', '.join(f'{count:,} {name}' for name, count in outcomes.most_common())}; {defects} defects"
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"the slowest took {slowest * 1000:.0f} ms; MB resident: {begun:.0f} before, {resident():.0f} after, {peak:.0f} at most")
    return 1 if defects else 0


def one(data: bytes, recipe: Any) -> str:
    """What became of it."""
    try:
        prepare(data, look(data, BOUNDS), recipe)
    except ImageError as error:
        return type(error).__name__
    return "pictures"


def resident() -> float:
    """Megabytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024**2


def main(arguments: list[str]) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.mutated_images", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--last", type=Path, help=argparse.SUPPRESS)
    told = parser.parse_args(arguments)
    if told.last is not None:
        return run(told.images, told.seed, told.last)
    folder = Path(tempfile.mkdtemp(prefix="mutated-images-"))
    options = ["--images", str(told.images), "--seed", str(told.seed), "--last", str(folder / "last")]
    status = subprocess.run([sys.executable, "-W", "error", "-m", "tests.fuzz.mutated_images", *options], check=False).returncode
    if status:
        print(f"see {folder}", *(["the process was ended:", status] if status < 0 else []))
    return 2 if status < 0 else status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
