"""Prometheus's text format, as a command reads it: samples, and quantiles from a histogram's buckets.

Source: prometheus.io/docs/instrumenting/exposition_formats, and `histogram_quantile` of its query language.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

_SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})?[ \t]+(\S+)(?:[ \t]+-?\d+)?", re.ASCII)
_LABEL = re.compile(r'[ ,]*([a-zA-Z_]\w*)[ ]*=[ ]*"((?:[^"\\]|\\.)*)"', re.ASCII)
_ESCAPED = re.compile(r"\\(.)")
_PLAIN = {"n": "\n"}


@dataclass(frozen=True, slots=True)
class Sample:
    """One line: a name, its labels, a value."""

    name: str
    labels: Mapping[str, str]
    value: float


def samples(text: str) -> Iterator[Sample]:
    """Every sample of a scrape; lines that are none are passed over."""
    for line in text.splitlines():
        found = None if line.startswith("#") else _SAMPLE.match(line)
        if found is None:
            continue
        try:
            value = float(found[3])
        except ValueError:
            continue
        labels = {name: _ESCAPED.sub(_unescaped, raw) for name, raw in _LABEL.findall(found[2] or "")}
        yield Sample(found[1], labels, value)


def quantile(share: float, buckets: Sequence[tuple[float, float]]) -> float | None:
    """The value below which that share lies, from ``(upper bound, cumulative count)``; linear within a bucket, and the highest
    finite bound for what lies beyond it. None without observations."""
    ordered = sorted(buckets)
    if not ordered or ordered[-1][1] <= 0:
        return None
    rank = share * ordered[-1][1]
    lower, below = 0.0, 0.0
    for upper, count in ordered:
        if count >= rank and count > below:
            if math.isinf(upper):
                return lower
            return lower + (upper - lower) * max(0.0, rank - below) / (count - below)
        lower, below = (lower if math.isinf(upper) else upper), count
    return lower


def _unescaped(found: re.Match[str]) -> str:
    return _PLAIN.get(found[1], found[1])
