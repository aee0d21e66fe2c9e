"""Whether a cache saves more than it costs: what was looked up and found, against what looking up and keeping took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: So many lookups are judged together: with fewer, chance would.
SPAN: Final = 2000
#: How long a cache that does not pay is left alone before it is tried again (seconds).
REST_S: Final = 60.0


@dataclass(slots=True)
class Span:
    """What was seen in one span: lookups, those that were hits, what computing took of those that were not (seconds of a slot, each
    entry's share of its batch), and the cache's own time (seconds)."""

    lookups: int = 0
    hits: int = 0
    computed: int = 0
    computing_s: float = 0.0
    own_s: float = 0.0

    @property
    def whole(self) -> bool:
        """Whether enough has been seen."""
        return self.lookups >= SPAN

    def pays(self) -> bool:
        """Whether the hits would have taken longer to compute than all the lookups took. Where nothing was computed they all were
        hits, and it does."""
        if not self.computed:
            return True
        return self.hits * (self.computing_s / self.computed) > self.own_s
