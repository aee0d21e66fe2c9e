"""What a search came to: as a piece of `model.toml`, and for programs."""

from __future__ import annotations

import json
import math
import os
import platform
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from models.manifest import Batching, Manifest
from service.commands.tune.choice import Goal, sustained
from service.commands.tune.measured import Tried, finite, median
from service.commands.tune.search import Outcome

#: A client that is busier than that may be slower than its server; a percentile of fewer requests is hardly one.
_BUSY, _FEW = 0.85, 100


@dataclass(frozen=True, slots=True)
class Report:
    """``manifest``: of the model as it lies in its repository; ``load``: what was asked, ``machine``: on what, in words."""

    model: str
    goal: Goal
    manifest: Manifest
    outcome: Outcome
    load: str
    machine: str
    when: datetime

    @property
    def advice(self) -> list[str]:
        """Sentences: what to do, how sure that is, and whether the goal is met."""
        outcome, goal, verdict = self.outcome, self.goal, self.outcome.verdict
        changed = outcome.advised is not outcome.current
        said = []
        if verdict is None:
            why = "interrupted before anything was confirmed" if outcome.interrupted else "nothing that was tried did better"
            said.append(f"Leave the settings as they are: {why}.")
        else:
            beside = (
                f"at {verdict.rate:,.0f}/s p99 {ms(verdict.best_p99_ms)} against {ms(verdict.current_p99_ms)} of the current "
                f"settings, in {verdict.pairs} pair{'s' * (verdict.pairs != 1)} of turns"
            )
            if changed:
                said.append(f"Use {outcome.advised.settings}: {beside}.")
            elif goal.rate is None and verdict.current_p99_ms <= goal.p99_ms:
                said.append(f"Leave the settings as they are: they keep the goal as well where others did best, {beside}.")
            else:
                said.append(
                    f"Leave the settings as they are: the best of the others is not better by more than noise, {beside} "
                    f"(by luck alone: {verdict.chance:.0%}); with more --minutes there would be more of them."
                )
        said.append(self._met())
        if "target_p99_ms" in Batching.model_fields and self.manifest.batching.target_p99_ms is None:
            said.append(f"With target_p99_ms = {goal.p99_ms:g} beside these, the batcher keeps to the goal when the load changes.")
        return said

    @property
    def remarks(self) -> list[str]:
        """What puts the figures in doubt."""
        found = []
        if self.outcome.interrupted:
            found.append(f"interrupted after {self.outcome.seconds:.0f} s: this is the best so far")
        points = self.outcome.advised.paced
        if points and median([point.busy for point in points]) > _BUSY:
            found.append("the client was as busy as a core allows, and may be the limit itself")
        if points and max(point.requests for point in points) < _FEW:
            found.append(f"fewer than {_FEW} requests a turn: these are no more than the slowest ones; give more --minutes")
        return found

    @property
    def fragment(self) -> str:
        """The sections of `model.toml`, which says what was measured, when and on what."""
        advised, manifest = self.outcome.advised, self.manifest
        sections = advised.settings.sections()
        default = Batching()
        for key, value in manifest.batching.model_dump().items():
            if key not in sections["batching"] and value != getattr(default, key):
                sections["batching"][key] = value
        said = [
            f"tureen tune {self.model}, {self.when:%Y-%m-%d %H:%M}, on {self.machine}",
            self.load,
            *([self._measured()] if advised.paced else []),
        ]
        lines = [*(f"# {one_line(each)}" for each in said), "[batching]"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in sections["batching"].items()]
        if advised.settings.threads != manifest.runtime.threads:
            lines += ["[runtime]", f"threads = {advised.settings.threads}"]
        return "\n".join(lines)

    def json(self) -> dict[str, Any]:
        """What a program reads; durations are in milliseconds, or seconds where their name says so."""
        outcome, verdict = self.outcome, self.outcome.verdict
        return {
            "model": self.model,
            "goal": {"p99_ms": self.goal.p99_ms, "rate": self.goal.rate},
            "met": outcome.met,
            "changed": outcome.advised is not outcome.current,
            "advised": outcome.advised.settings.sections(),
            "model_toml": self.fragment,
            "advice": self.advice,
            "remarks": self.remarks,
            "verdict": None
            if verdict is None
            else {
                "rate": round(verdict.rate, 3),
                "pairs": verdict.pairs,
                "current_p99_ms": finite(verdict.current_p99_ms),
                "best_p99_ms": finite(verdict.best_p99_ms),
                "chance": round(verdict.chance, 5),
                "better": verdict.better,
            },
            "tried": [
                {
                    **one.settings.sections(),
                    "current": one is outcome.current,
                    "sustained_per_s": None if (rate := sustained(one, self.goal)) is None else round(rate, 3),
                    "turns": [point.json() for point in one.points],
                }
                for one in outcome.tried
            ],
            "load": self.load,
            "machine": self.machine,
            "when": self.when.isoformat(timespec="seconds"),
            "seconds": round(outcome.seconds, 3),
            "interrupted": outcome.interrupted,
        }

    def _met(self) -> str:
        goal, advised = self.goal, self.outcome.advised
        if not advised.paced:
            return "Nothing is known of the goal."
        if self.outcome.met:
            return f"The goal is met: {self._measured()}."
        missed = f"The goal of p99 {goal.p99_ms:g} ms is not met: {self._measured()}"
        other = next((one for one in self.outcome.tried if sustained(one, goal) is not None), None)
        if other is not None:
            return f"{missed}. {other.settings} seemed to meet it, which is not confirmed."
        return f"{missed} is the nearest of all that was tried."

    def _measured(self) -> str:
        """What the advised settings did."""
        goal, advised = self.goal, self.outcome.advised
        if goal.rate is not None:
            return f"p99 {ms(median([point.p99_ms for point in advised.paced]))} at {goal.rate:,.0f} requests/s"
        rate = sustained(advised, goal)
        if rate is not None:
            return f"p99 within {goal.p99_ms:g} ms up to some {rate:,.0f} requests/s"
        nearest = min(advised.paced, key=lambda point: (point.p99_ms, point.asked))
        return f"p99 {ms(nearest.p99_ms)} at {nearest.asked or 0:,.0f} requests/s"


def curve(tried: Tried) -> list[tuple[float, float, float]]:
    """Requests a second, p50 and p99 (ms) of the turns by their rate; those of nearly one rate are one point, of their medians."""
    groups: list[list[int]] = []
    points = sorted(tried.paced, key=lambda point: point.asked or 0.0)
    for n, point in enumerate(points):
        first = points[groups[-1][0]].asked if groups else None
        if first is not None and (point.asked or 0.0) <= 1.05 * first:
            groups[-1].append(n)
        else:
            groups.append([n])
    return [
        (
            sum(points[n].asked or 0.0 for n in group) / len(group),
            median([points[n].p50_ms for n in group]),
            median([points[n].p99_ms for n in group]),
        )
        for group in groups
    ]


def ms(value: float) -> str:
    """Milliseconds with their unit; infinite ones are answers that never came."""
    if not math.isfinite(value):
        return "unanswered"
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.1f} ms" if value >= 10 else f"{value:.2f} ms"


def machine(server: str) -> str:
    """What was measured on, in words."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    several = f"{cores} core{'s' * (cores != 1)}"
    return f"{several} ({_processor()}), Python {platform.python_version()}, {server}, one worker beside its client"


def one_line(text: str) -> str:
    """As a comment may hold it."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
