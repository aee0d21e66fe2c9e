"""The least input that still does what was found."""

from __future__ import annotations

from collections.abc import Callable


def shrink(data: bytes, holds: Callable[[bytes], bool], most: int = 2000) -> bytes:
    """``data`` with as much taken out as ``holds`` bears, in at most ``most`` trials (delta debugging, Zeller 1999)."""
    piece, trials = max(1, len(data) // 2), 0
    while data and trials < most:
        at, shrunk = 0, False
        while at < len(data) and trials < most:
            less = data[:at] + data[at + piece :]
            trials += 1
            if holds(less):
                data, shrunk = less, True
            else:
                at += piece
        if piece == 1 and not shrunk:
            break
        piece = max(1, piece // 2) if not shrunk or piece > len(data) else piece
    return data
