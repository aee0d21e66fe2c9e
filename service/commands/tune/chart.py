"""The picture of a search: latency over throughput, of the current settings, of what did best, and of all others."""

from __future__ import annotations

from service.commands.bench.charts import BLUE, HEIGHT, MUTED, ORANGE, RED, WIDTH, Panel, ticks
from service.commands.bench.drawing import Box, Drawing, Path, Shape, Text
from service.commands.tune.report import Report, curve
from service.commands.tune.text import shown

#: How much of what is above the goal is shown; more would leave no room for what is below.
_ABOVE = 2.5
_DOT, _SMALL = 6.0, 4.0
_GREY = "#b4b4b4"


def charts(report: Report) -> list[Drawing]:
    """A drawing, where there is something to draw."""
    rates = [point.asked or 0.0 for one in report.outcome.tried for point in one.paced]
    if not rates:
        return []
    goal_ms = report.goal.p99_ms
    panel = Panel(f"p99 (ms) over requests a second; at the upper edge: {_ABOVE:g} times the goal and more", "requests a second",
                  max(rates) * 1.05, _ABOVE * goal_ms)  # fmt: skip
    shapes = panel.frame([(value, f"{value:,g}") for value in ticks(panel.most_x, 8)])
    (left, y), (right, _) = panel.point(0, goal_ms), panel.point(panel.most_x, goal_ms)
    shapes += [Path([(left, y), (right, y)], RED, 1.0), Text((right, y - 4), f"goal {goal_ms:g} ms", "end", RED)]
    drawn = list(shown(report))
    for one in report.outcome.tried:
        if all(one is not other for _, other in drawn):
            shapes += [_dot(panel, point.asked or 0.0, point.p99_ms, _SMALL, _GREY, str(one.settings)) for point in one.paced]
    for (name, one), colour in zip(drawn, (BLUE, ORANGE), strict=False):
        points = curve(one)
        shapes.append(Path([panel.point(rate, min(p99, panel.most_y)) for rate, _, p99 in points], colour, 2.0))
        shapes += [_dot(panel, rate, p99, _DOT, colour, f"{name}: {one.settings}") for rate, _, p99 in points]
    return [Drawing(WIDTH, HEIGHT, shapes), _legend([name for name, _ in drawn])]


def _legend(names: list[str]) -> Drawing:
    shapes: list[Shape] = []
    left = 70.0
    for name, colour in zip([*names, "others"], [*(BLUE, ORANGE)[: len(names)], _GREY], strict=True):
        shapes += [Box((left, 6), 10, 8, colour), Text((left + 15, 14), name, colour=MUTED)]
        left += 7 * len(name) + 40
    return Drawing(WIDTH, 22, shapes)


def _dot(panel: Panel, rate: float, p99_ms: float, size: float, colour: str, what: str) -> Box:
    x, y = panel.point(rate, min(p99_ms, panel.most_y))
    return Box((x - size / 2, y - size / 2), size, size, colour, f"{what}: p99 {p99_ms:.3g} ms at {rate:,.0f}/s")
