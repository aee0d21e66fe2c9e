"""Memory that the supervisor and its workers share: anonymous, handed down as an open file descriptor, gone with the last process.

Nothing of it is on a disk, so it works where everything is read-only, and what a killed worker has written stays.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import weakref


class SharedMemory:
    """``size`` bytes, all zero when created. ``fd`` is inheritable: a child attaches to it. Who created it closes it."""

    __slots__ = ("__weakref__", "fd", "map", "size")

    def __init__(self, fd: int, size: int) -> None:
        self.fd = fd
        self.size = size
        self.map = mmap.mmap(fd, size)

    @classmethod
    def create(cls, size: int) -> SharedMemory:
        """New memory."""
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create("tureen", 0)
        else:
            with tempfile.TemporaryFile() as file:
                fd = os.dup(file.fileno())
        os.ftruncate(fd, size)
        os.set_inheritable(fd, True)
        created = cls(fd, size)
        weakref.finalize(created, os.close, fd).atexit = False
        return created
