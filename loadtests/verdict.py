"""Whether a load test passed: what was measured, held against what was wanted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measured:
    """What counted: requests and failures among them, over ``seconds``; latencies in milliseconds."""

    requests: int
    failures: int
    seconds: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Thresholds:
    """``rate`` requests a second are to be reached to ``rate_share`` at least, and the others are upper limits."""

    rate: float
    rate_share: float = 0.99
    p50_ms: float = 10.0
    p99_ms: float = 50.0
    error_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Check:
    """One threshold and what was measured against it."""

    name: str
    wanted: str
    measured: str
    passed: bool


def verdict(measured: Measured, thresholds: Thresholds) -> tuple[Check, ...]:
    """Every check, passed or not; where no request counted, none passes."""
    some = measured.requests > 0 and measured.seconds > 0
    errors = measured.failures / measured.requests if some else 1.0
    rate = measured.requests / measured.seconds if some else 0.0
    least = thresholds.rate * thresholds.rate_share
    return (
        Check("errors", f"<= {thresholds.error_share:.2%}", f"{errors:.2%}", some and errors <= thresholds.error_share),
        Check("p50", f"<= {thresholds.p50_ms:g} ms", f"{measured.p50_ms:g} ms", some and measured.p50_ms <= thresholds.p50_ms),
        Check("p99", f"<= {thresholds.p99_ms:g} ms", f"{measured.p99_ms:g} ms", some and measured.p99_ms <= thresholds.p99_ms),
        Check("rate", f">= {least:g}/s", f"{rate:.1f}/s", some and rate >= least),
    )


def table(measured: Measured, checks: tuple[Check, ...]) -> str:
    """The checks, a line each, under a line that says over what."""
    lines = [
        f"{measured.requests} requests in {measured.seconds:.1f} s counted",
        f"{'':8}{'wanted':>12}{'measured':>12}",
    ]
    return "\n".join([*lines, *map(line, checks)])


def line(check: Check) -> str:
    """The check, as the table has it."""
    return f"{check.name:8}{check.wanted:>12} {check.measured:>11}  {'passed' if check.passed else 'FAILED'}"
