"""How much memory the process holds: what a model took is what this grew by while it loaded, for want of a better measure."""

from __future__ import annotations

import os
import resource
import sys

_STATM = "/proc/self/statm"
_PAGE = resource.getpagesize()


def resident_bytes() -> int:
    """The process's resident memory; where there is no /proc, the most that it ever was."""
    try:
        file = os.open(_STATM, os.O_RDONLY)
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
    try:
        return int(os.read(file, 128).split()[1]) * _PAGE
    finally:
        os.close(file)
