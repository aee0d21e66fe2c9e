"""The pictures of a run: its latencies by percentile, rate and latency over time, and the batches that were formed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from service.commands.bench.drawing import Box, Drawing, Path, Point, Shape, Text
from service.commands.bench.result import Result, percentile_curve
from service.commands.bench.text import coarse

WIDTH, HEIGHT = 760, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 34, 44
INK, GRID, MUTED = "#222222", "#e4e4e4", "#666666"
BLUE, ORANGE, RED, TEAL = "#2563a8", "#d97706", "#c0392b", "#2a8c82"


@dataclass(frozen=True, slots=True)
class Panel:
    """A chart's frame; x and y are scaled so that 0 to ``most_x`` and ``most_y`` fill it."""

    title: str
    below: str
    most_x: float
    most_y: float

    def point(self, x: float, y: float) -> Point:
        """Where a value lies."""
        across, up = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
        return _LEFT + across * x / self.most_x, HEIGHT - _BOTTOM - up * min(y, self.most_y) / self.most_y

    def frame(self, x_ticks: Sequence[tuple[float, str]]) -> list[Shape]:
        """Title, grid and what the axes say."""
        made: list[Shape] = [Text((_LEFT, 18), self.title, colour=INK, bold=True)]
        for value in ticks(self.most_y):
            (left, y), (right, _) = self.point(0, value), self.point(self.most_x, value)
            made += [Path([(left, y), (right, y)], GRID, 1.0), Text((left - 8, y + 4), f"{value:,g}", "end", MUTED)]
        for value, said in x_ticks:
            x, y = self.point(value, 0)
            made += [Path([(x, y), (x, y + 4)], MUTED, 1.0), Text((x, y + 17), said, "middle", MUTED)]
        (left, y), (right, _) = self.point(0, 0), self.point(self.most_x, 0)
        made += [Path([(left, y), (right, y)], MUTED, 1.0), Text(((left + right) / 2, HEIGHT - 8), self.below, "middle", MUTED)]
        return made

    def legend(self, *entries: tuple[str, str]) -> list[Shape]:
        """Names of lines in their colours, at the upper right."""
        made: list[Shape] = []
        right = float(WIDTH - _RIGHT)
        for name, colour in reversed(entries):
            made += [Text((right, 18), name, "end", INK), Box((right - 7 * len(name) - 16, 10), 10, 8, colour)]
            right -= 7 * len(name) + 32
        return made


def ticks(most: float, about: int = 4) -> list[float]:
    """Round values from 0 up to ``most``, a few of them."""
    if most <= 0:
        return [0.0]
    raw = most / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * nice for nice in (1, 2, 5, 10) if power * nice >= raw * 0.999)
    return [float(f"{step * n:.6g}") for n in range(int(most / step * 1.000001) + 1)]


def charts(result: Result) -> list[Drawing]:
    """A drawing each, as far as there is something to show."""
    made = [_percentiles(result), _rate(result), _latency(result), _batches(result)]
    return [Drawing(WIDTH, HEIGHT, shapes) for shapes in made if shapes]


def stacked(drawings: Sequence[Drawing], heading: Sequence[str]) -> Drawing:
    """One drawing below the other, under lines of text."""
    shapes: list[Shape] = [Text((_LEFT, 24 + 18 * n), line, colour=INK, bold=n == 0) for n, line in enumerate(heading)]
    top = 24 + 18 * len(heading)
    for drawing in drawings:
        shapes += [_lower(shape, top) for shape in drawing.shapes]
        top += drawing.height
    return Drawing(WIDTH, top, shapes)


def _percentiles(result: Result) -> list[Shape]:
    curve = percentile_curve(result.record.latency)
    if not curve:
        return []
    named = [(0.0, "0"), (-math.log10(0.5), "50"), *((float(n), f"{100 * (1 - 10.0**-n):.10g}") for n in range(1, 9))]
    panel = Panel("Latency by percentile (ms)", "percentile of requests", curve[-1][0], max(y for _, y in curve) * 1.08)
    shapes = panel.frame([(x, said) for x, said in named if x <= panel.most_x])
    return [*shapes, Path([panel.point(x, y) for x, y in curve], BLUE, 2.0)]


def _rate(result: Result) -> list[Shape]:
    slots, width = list(result.slots), result.record.width
    ok = [(start, ok / width) for start, ok, _, _ in slots]
    failed = [(start, failed / width) for start, _, failed, _ in slots]
    most = max(*(rate for _, rate in ok), *(rate for _, rate in failed), result.asked.rate or 0)
    if not most:
        return []
    panel = Panel("Requests a second", "seconds", max(result.seconds, width), most * 1.12)
    shapes = panel.frame(_seconds(panel.most_x))
    shapes += panel.legend(("succeeded", BLUE), *([("failed", RED)] if any(rate for _, rate in failed) else []))
    shapes.append(Path(_steps(panel, ok, width), BLUE, 2.0))
    if any(rate for _, rate in failed):
        shapes.append(Path(_steps(panel, failed, width), RED, 2.0))
    return shapes


def _latency(result: Result) -> list[Shape]:
    found = [(start, latency.percentiles((50, 99))) for start, _, _, latency in result.slots if latency.count]
    if not found:
        return []
    panel = Panel(
        "Latency over time (ms)", "seconds", max(result.seconds, result.record.width), 1e3 * max(q[1] for _, q in found) * 1.12
    )
    middle = result.record.width / 2

    def line(which: int) -> list[Point]:
        return [panel.point(min(start + middle, panel.most_x), 1e3 * quantiles[which]) for start, quantiles in found]

    shapes = panel.frame(_seconds(panel.most_x)) + panel.legend(("p50", BLUE), ("p99", ORANGE))
    return [*shapes, Path(line(1), ORANGE, 2.0), Path(line(0), BLUE, 2.0)]


def _batches(result: Result) -> list[Shape]:
    if result.batches is None or not result.batches.by_rows:
        return []
    ranges = coarse(result.batches.by_rows, 40)
    panel = Panel("Calls of the model by rows", "rows in a call", len(ranges), max(calls for _, _, calls in ranges) * 1.12)
    every = -(-len(ranges) // 16)
    said = [(n + 0.5, str(low) if low == high else f"{low}–{high}") for n, (low, high, _) in enumerate(ranges)]
    shapes = panel.frame(said[::every])
    for n, (low, high, calls) in enumerate(ranges):
        left, top = panel.point(n + 0.15, calls)
        right, bottom = panel.point(n + 0.85, 0)
        name = f"{low} rows" if low == high else f"{low} to {high} rows"
        shapes.append(Box((left, top), right - left, bottom - top, TEAL, f"{name}: {calls:,} calls"))
    return shapes


def _steps(panel: Panel, values: Sequence[tuple[float, float]], width: float) -> list[Point]:
    corners = [(x, value) for start, value in values for x in (start, start + width)]
    return [panel.point(min(x, panel.most_x), value) for x, value in corners]


def _seconds(most: float) -> list[tuple[float, str]]:
    return [(value, f"{value:g}") for value in ticks(most, 8)]


def _lower(shape: Shape, by: float) -> Shape:
    match shape:
        case Path(points):
            return replace(shape, points=[(x, y + by) for x, y in points])
        case Box((x, y)) | Text((x, y)):
            return replace(shape, at=(x, y + by))
