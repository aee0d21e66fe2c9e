"""What may be told of an exception that somebody else's code raised."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

_LONGEST = 300
# An absolute path, up to its last part: of that, the name alone is told.
_ABOVE = re.compile(r"""(?<![\w.:/\\])(?:[A-Za-z]:)?[/\\](?:[^\s/\\'":,;]+[/\\])+""")


def told(error: BaseException) -> str:
    """``ValueError: its message``: one line, no directories. What is left out stays with the exception itself."""
    # A syntax error's own text names file and line again.
    text = " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split())
    text = _ABOVE.sub("", text)
    text = text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def line_in(error: BaseException, path: Path) -> int | None:
    """The last line of that file on the way to where the exception was raised."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return lines[-1] if lines else None
