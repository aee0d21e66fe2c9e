"""Whether anybody has written to a database, told by its files: a look at their times costs a hundredth of a query."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

#: Times of files go by the kernel's ticks: what was written this recently may be written again within the same one (ns).
TICK_NS: Final = 20_000_000

_State = tuple[tuple[int, int, int], ...]


class Stir:
    """The files of one SQLite database in WAL mode, where each commit writes to the log beside the database.

    What counts is when a file was changed, which its rights are part of, not when it was written.
    """

    def __init__(self, path: Path) -> None:
        self._files = (path, path.with_name(path.name + "-wal"))
        self._seen: _State | None = None

    def stirred(self) -> bool:
        """Whether somebody may have written since this said so last; True as long as that cannot be told."""
        try:
            found = [file.stat() for file in self._files]
        except OSError:
            self._seen = None
            return True
        state = tuple([(file.st_ino, file.st_size, file.st_ctime_ns) for file in found])
        if state == self._seen:
            return False
        settled = time.time_ns() - max([file.st_ctime_ns for file in found]) > TICK_NS
        self._seen = state if settled else None
        return True

    def forget(self) -> None:
        """What was found could not be looked at: the next time it is stirred."""
        self._seen = None
