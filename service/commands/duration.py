"""Times as people give them: `90d`, `24h`, `1h30m`."""

from __future__ import annotations

import re
from typing import Final

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_FORM: Final = re.compile(r"(?:[0-9]{1,9}[smhdw])+")
_PART: Final = re.compile(r"([0-9]+)([smhdw])")
#: A thousand years (seconds): beyond what clocks can tell of.
LONGEST: Final = 1000 * 365.25 * 86_400


def seconds(text: str) -> float:
    """How many seconds that is. Raises ValueError."""
    if not _FORM.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is no time; give numbers with units, as in 90d, 24h or 1h30m (s, m, h, d, w)")
    total = sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    if total > LONGEST:
        raise ValueError(f"{text[:40]!r} is more than a thousand years; give less, or leave it out")
    return float(total)
