"""What tells whether any file of a version was changed or replaced, without reading it."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from models.plain_file import NotPlain

Stamp = tuple[tuple[str, int, int, int], ...]
"""Path, size, mtime in ns and inode of each of a version's files: unequal when any of them was changed or replaced."""


def stamp_of(directory: Path, beside: Path | None = None) -> Stamp:
    """That of all files below a version's directory, and of one in the directory above. Raises NotPlain, which says what it has
    that is none; OSError."""
    stamps = [*_stamps(directory, directory)]
    if beside is not None and stat.S_ISREG((info := beside.lstat()).st_mode):
        stamps.append((f"../{beside.name}", info.st_size, info.st_mtime_ns, info.st_ino))
    return tuple(sorted(stamps))


def _stamps(directory: Path, top: Path) -> Iterator[tuple[str, int, int, int]]:
    for child in directory.iterdir():
        if child.name.startswith(".") or child.name == "__pycache__":
            continue
        relative, info = child.relative_to(top).as_posix(), child.lstat()
        if stat.S_ISDIR(info.st_mode):
            yield from _stamps(child, top)
        elif stat.S_ISREG(info.st_mode):
            yield relative, info.st_size, info.st_mtime_ns, info.st_ino
        elif stat.S_ISLNK(info.st_mode):
            raise NotPlain(f"has a symlink, {relative}; put the file itself there")
        else:
            raise NotPlain(f"has {relative}, which is not a plain file")
