"""What a worker gives up before it serves."""

from __future__ import annotations

import ctypes
import sys
from typing import Final

#: Linux's number for the option of prctl(2); Python has no name for it.
_NO_NEW_PRIVS: Final = 38


def give_up_privileges() -> None:
    """From now on nothing that this process starts gets more rights than it has, whatever the file's set-user-ID bit says.

    Linux alone knows this; elsewhere, and where it is not let, nothing happens.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
