"""A progress bar on a terminal; a line now and then elsewhere."""

from __future__ import annotations

import shutil
from types import TracebackType
from typing import TextIO

WIDTH = 24
#: Where nobody watches, a line for each such part is enough.
EVERY = 0.1


class Bar:
    """Shows how far something is, until the ``with`` ends."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._terminal = out.isatty()
        self._next = 0.0

    def __enter__(self) -> Bar:
        return self

    def show(self, done: float, step: str) -> None:
        """``done`` is 0 to 1."""
        if self._terminal:
            filled = round(done * WIDTH)
            room = shutil.get_terminal_size().columns - WIDTH - 10
            self._out.write(f"\r\x1b[K  {'█' * filled}{'·' * (WIDTH - filled)} {done:4.0%}  {step[:room]}")
            self._out.flush()
        elif done >= self._next or done >= 1:
            self._out.write(f"  {done:4.0%}  {step}\n")
            self._out.flush()
            self._next = done + EVERY

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._terminal:
            self._out.write("\r\x1b[K")
            self._out.flush()
