"""``labels.txt``: the classes' names, one a line, in the order of the model's classes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from models.errors import LoadError
from models.plain_file import NotPlain, open_plain

FILE: Final = "labels.txt"
LARGEST: Final = 16 << 20  # bytes: a million names of ordinary length


def read_labels(path: Path) -> tuple[str, ...]:
    """The names, without the spaces around them; empty lines at the end are not counted. Raises LoadError."""
    try:
        with open_plain(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > LARGEST:
                raise LoadError(f"{FILE}: the file has {size} bytes; expected at most {LARGEST}")
            text = file.read(LARGEST).decode("utf-8-sig")
    except NotPlain as error:
        raise LoadError(f"{FILE}: expected a plain file; symlinks and special files are not followed") from error
    except UnicodeDecodeError as error:
        raise LoadError(f"{FILE}: not UTF-8 text, at byte {error.start}") from error
    except OSError as error:
        raise LoadError(f"{FILE}: cannot be read: {error.strerror}") from error
    names = tuple([line.strip() for line in text.rstrip().split("\n")])
    if "" in names:
        raise LoadError(f"{FILE}, line {names.index('') + 1}: expected a class's name, one a line, got an empty line")
    return names
