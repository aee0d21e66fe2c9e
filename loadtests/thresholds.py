"""What each scenario asks for, and what it is held to: the one place where these numbers stand."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from loadtests.verdict import Thresholds

#: Requests a second, and latencies in milliseconds as on Hypercorn.
SCENARIOS: Mapping[str, Thresholds] = MappingProxyType(
    {
        "recommender": Thresholds(rate=1000.0, p50_ms=5.0, p99_ms=20.0),
        "images": Thresholds(rate=500.0, p50_ms=5.0, p99_ms=30.0),
        "many_models": Thresholds(rate=400.0, p50_ms=10.0, p99_ms=100.0),  # a load takes a core for some of that
    }
)
#: The p99 on uvicorn, as a share of that.
UVICORN_P99 = 0.5
#: The server's CPU time a request with the cache on, as a share of that without.
CACHE_CPU = 0.5


def on(server: str, scenario: str) -> Thresholds:
    """The thresholds of a scenario on a server."""
    wanted = SCENARIOS[scenario]
    share = UVICORN_P99 if server == "uvicorn" else 1.0
    return Thresholds(wanted.rate, wanted.rate_share, wanted.p50_ms, wanted.p99_ms * share, wanted.error_share)
