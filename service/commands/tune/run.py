"""A search from the start of its server to its report."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from models.manifest import Manifest
from service.commands.bench import payload
from service.commands.bench.target import Target
from service.commands.client import Client
from service.commands.terminal import echo
from service.commands.tune.choice import Goal
from service.commands.tune.plan import Plan, plan
from service.commands.tune.report import Report, machine
from service.commands.tune.rig import ENOUGH, Rig
from service.commands.tune.search import FIRST_TURNS, Search
from service.commands.tune.server import served_alone, serving
from service.commands.tune.settings import Settings, Space
from service.config import Config
from service.progress import Bar

#: A load may take so long (seconds); an answer so many times the goal, and at least that.
_LOAD_S, _TIMES_GOAL, _ANSWER_S = 600.0, 10.0, 0.5


class NotAnswered(Exception):
    """No request will ever succeed: a sentence with what to do."""


@dataclass(frozen=True, slots=True)
class Requests:
    """What is asked: of the file ``data``, or made up."""

    protocol: payload.Protocol
    data: Path | None
    rows: int
    distinct: int
    seed: int

    def bodies(self, config: Mapping[str, Any]) -> list[payload.Body]:
        """Their contents. Raises Unusable."""
        return payload.bodies(config, self.protocol, self.data, self.rows, self.distinct, self.seed)

    def __str__(self) -> str:
        if self.data is not None:
            return f"{self.protocol}, requests of {self.data.name}"
        return f"{self.protocol}, {self.rows} row{'s' * (self.rows != 1)} a request"


def run(model: str, config: Config, goal: Goal, seconds: float, connections: int, requests: Requests) -> Report:
    """Raises KeyboardInterrupt where it came before anything was measured; LoadError, NotServed, NotTaken, Unusable, NotAnswered,
    Unreachable and Refused."""
    entry, what = served_alone(config.repository, config.name, model)
    with ExitStack() as stack:
        with Bar(sys.stderr) as bar:
            bar.show(0.0, "starting a server")
            url = stack.enter_context(serving(what, model, config))
        client = stack.enter_context(Client(url, _LOAD_S))
        target = Target(url, model, None, requests.protocol)
        told = target.config(client)
        bodies = requests.bodies(told)
        reply = target.tried(client, bodies[0])
        if 400 <= reply.status < 500:  # it will never be answered otherwise
            mend = "mend the file of --data" if requests.data is not None else "give requests that suit it with --data"
            raise NotAnswered(f"{model} answers {reply.status}: {reply.error}; {mend}")
        timeout_s = max(_ANSWER_S, _TIMES_GOAL * goal.p99_ms / 1e3)
        rig = stack.enter_context(Rig(client, model, target.address, target.prepared(bodies), connections, timeout_s))
        space, current = _space(entry.manifest, told, goal), Settings.of(entry.manifest)
        begun = time.perf_counter()
        rig.load(current)
        overhead_s = time.perf_counter() - begun + rig.overhead_s
        least_s = 0.0 if goal.rate is None else ENOUGH / goal.rate
        planned = plan(seconds, overhead_s, len(space.coarse(current)), FIRST_TURNS if goal.rate is None else 1, least_s)
        echo(f"tureen: {_told(planned, goal)}", err=True)
        with Bar(sys.stderr) as bar:
            search = Search(rig.measure, goal, space, current, planned, time.perf_counter, bar.show)
            search.run()
    outcome = search.outcome()
    if not outcome.tried:
        raise KeyboardInterrupt
    load = f"open loops, Poisson arrivals; {requests}"
    return Report(model, goal, entry.manifest, outcome, load, machine(config.server), datetime.now().astimezone())


def _space(manifest: Manifest, told: Mapping[str, Any], goal: Goal) -> Space:
    """What is worth a try: no window longer than half the goal, no more calls at once or threads than cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    computed_by_threads = told.get("platform") != "python"
    batched = int(told.get("max_batch_size", 1)) > 0
    return Space(
        max_rows=min(manifest.batching.queue_rows, 4096),
        window_ms=goal.p99_ms / 2,
        instances=max(2, cores),
        threads=cores if computed_by_threads else 1,
        batched=batched,
    )


def _told(planned: Plan, goal: Goal) -> str:
    about = f"{planned.seconds / 60:.3g} minutes" if planned.seconds >= 90 else f"{planned.seconds:.0f} s"
    wanted = "the highest rate" if goal.rate is None else f"{goal.rate:,g} requests/s"
    return (
        f"trying {planned.settings} settings and what is near the best, for {wanted} with p99 within {goal.p99_ms:g} ms: "
        f"about {about}; Ctrl-C ends it and tells the best so far"
    )
