"""JSON from strangers, of which nothing may be read in two ways."""

from __future__ import annotations

import json
from typing import Any, NoReturn


def json_object(content: bytes) -> dict[str, Any]:
    """The object that it is, no name in any object twice, as parsers differ in which of the two they believe; no NaN or Infinity.

    Raises ValueError, for what is nested too deep to be read and for numbers of thousands of digits too.
    """
    try:
        held = json.loads(content, object_pairs_hook=_once_each, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if not isinstance(held, dict):
        raise ValueError("it is no object")
    return held


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a name stands twice")
    return made


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON's")
