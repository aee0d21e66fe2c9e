"""What a search came to, on a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from service.commands.bench.text import bars, number
from service.commands.table import table
from service.commands.tune.choice import sustained
from service.commands.tune.measured import Tried, median
from service.commands.tune.report import Report, curve

#: Lines of the table, and of a curve.
_MOST = 12
_WIDTH = 36


def text(report: Report) -> str:
    """Lines for people."""
    return "\n".join(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    outcome = report.outcome
    turns = sum(len(one.points) for one in outcome.tried)
    yield f"{report.model}: {len(outcome.tried)} settings in {turns} turns, {outcome.seconds:.0f} s; {report.load}"
    yield from (f"  ! {remark}" for remark in report.remarks)
    if outcome.tried:
        yield ""
        yield from table(standing(report), (1, 2, 3, 4))
    for name, one in shown(report):
        yield ""
        yield f"  {name}: {one.settings}"
        yield from _curve(one, report.goal.p99_ms)
    yield ""
    yield from report.advice
    yield ""
    yield from report.fragment.split("\n")


def standing(report: Report) -> list[Sequence[str]]:
    """A table of the best settings, the current ones among them: its head, and a row each."""
    outcome, goal = report.outcome, report.goal
    best = list(outcome.tried[:_MOST])
    if outcome.current not in best and outcome.current.points:
        best[-1:] = [outcome.current]
    rows: list[Sequence[str]] = []
    for one in best:
        mark = " (current)" if one is outcome.current else ""
        points = one.paced
        if not points:
            continue
        rate = sustained(one, goal)
        near = [point for point in points if rate is None or abs((point.asked or 0) / rate - 1) < 0.02]
        at = "-" if rate is None else f"{rate:,.0f}/s"
        p50, p99 = (median([getattr(point, which) for point in near]) for which in ("p50_ms", "p99_ms"))
        rows.append((f"{one.settings}{mark}", at, _ms(p50), _ms(p99), str(len(one.points))))
    return [("settings", "keeps the goal to" if goal.rate is None else "keeps the goal at", "p50", "p99", "turns"), *rows]


def shown(report: Report) -> Iterator[tuple[str, Tried]]:
    """The settings whose curves are drawn, each with what it is."""
    outcome = report.outcome
    if outcome.current.paced:
        yield "current", outcome.current
    other = outcome.advised if outcome.advised is not outcome.current else next(iter(outcome.tried), outcome.current)
    if other is not outcome.current and other.paced:
        yield "advised" if other is outcome.advised else "best of the others", other


def _curve(tried: Tried, goal_ms: float) -> Iterator[str]:
    points = curve(tried)
    most = 2 * goal_ms
    drawn = bars([*(min(p99, most) for _, _, p99 in points), most], _WIDTH)[:-1]
    rows = [("requests/s", "p50", "p99 ms", "")]
    for (rate, p50, p99), bar in zip(points, drawn, strict=True):
        beyond = "" if p99 <= goal_ms else " > goal"
        rows.append((f"{rate:,.0f}", _ms(p50), _ms(p99), f"{bar}{beyond}"))
    yield from table(rows, (0, 1, 2))


def _ms(value: float) -> str:
    return number(value) if math.isfinite(value) else "∞"
