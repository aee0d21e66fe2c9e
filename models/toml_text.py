"""TOML as files of ours are written in it, read in bounded time.

The standard library's parser takes time and memory with the square of a dotted key's parts, fails with RecursionError on what is
nested too deep, and with a sentence about its interpreter on a number of thousands of digits.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any, Final

#: Parts of a dotted key; no file of ours has a key of more than three.
MOST_PARTS: Final = 16

_DOTTED: Final = re.compile(rf"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){{{MOST_PARTS}}}""")


def toml(text: str) -> dict[str, Any]:
    """What the text says. Raises ValueError, whose message says what is wrong with it."""
    if (found := _DOTTED.search(text)) is not None:
        line = text.count("\n", 0, found.start()) + 1
        raise ValueError(f"more than {MOST_PARTS} parts joined by dots (at line {line})")
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(briefly(error)) from error


def briefly(error: BaseException) -> str:
    """What a parser of Python's said was wrong with a text."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return "a number has too many digits" if "set_int_max_str_digits" in str(error) else str(error)
