"""Opening a file that must be a plain one: by its descriptor, so that what was looked at is what is read."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


class NotPlain(Exception):
    """A symlink, a directory, a device, a pipe."""


def open_plain(path: Path) -> BinaryIO:
    """The file, for reading. Raises NotPlain, without having followed a link or waited for a pipe's other end; OSError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link; a socket, or a device that is not there
            raise NotPlain from error
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotPlain
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise
