"""The known word that a misspelt one most likely meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(key: str, known: Iterable[str], cutoff: float = 0.0) -> str | None:
    """The known key most like ``key``; None where none reaches ``cutoff``, a difflib ratio between 0 and 1."""
    words = sorted(known)
    lowered = {word.lower(): word for word in reversed(words)}
    found = get_close_matches(key.lower()[:128], lowered, n=1, cutoff=cutoff)
    return lowered[found[0]] if found else None
