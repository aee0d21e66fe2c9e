"""A load at a steady rate, its verdict and its record: what all scenarios share.

Every user asks at fixed times, spread evenly, whether or not the server keeps up with the others: so a slow server meets the
same load as a fast one, up to one request in flight a user. What counts begins after the warm-up. Options, each also as an
environment variable (``--p99-ms``, LOADTEST_P99_MS): see ``python -m locust -f loadtests/recommender.py --help``.
"""

from __future__ import annotations

import gc
import itertools
import json
import logging
import random
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import gevent
from locust import FastHttpUser, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.event import EventHook

from loadtests.asks import LENGTH, Ask
from loadtests.looks import Look, Told, between, look
from loadtests.outcome import Kind, Outcome
from loadtests.thresholds import SCENARIOS
from loadtests.verdict import Measured, Thresholds, table, verdict
from service.commands.bench.record import Record
from service.commands.bench.record import Told as Head
from service.commands.bench.result import Asked, Result

# Parsing every answer would cost the server, on the same cores, more than it is worth.
CHECKED_SHARE = 0.01
MADE_UP_S = 0.25
#: Added to the kind of a request that was refused, as it may be.
AWAY = ", away"

log = logging.getLogger("loadtest")
phases = random.Random(1)
_UNTOLD = Head()


class Visitor(FastHttpUser):
    """Asks for its share of the rate, its requests spread evenly in time."""

    abstract = True
    # One try: a load test has no use for an answer that a second try would have given.
    max_retries = 0
    connection_timeout = 10.0
    network_timeout = 10.0
    asks: ClassVar[Iterator[Ask]]
    late: ClassVar[Callable[[float], None]]  # told how late each request is sent (seconds)
    period: float
    due: float

    def on_start(self) -> None:
        options = self.environment.parsed_options or Namespace()
        self.period = (options.num_users or 1) / options.rate
        # A phase of its own: users are spawned together, and would ask together for ever.
        self.due = time.perf_counter() + phases.random() * self.period
        gevent.sleep(self.due - time.perf_counter())

    def wait_time(self) -> float:
        # By the clock, not since the last answer: what was late is made up for, so a hiccup does not lower the load. What is
        # later than that is given up, and shows in the rate.
        now = time.perf_counter()
        self.due = max(self.due + self.period, now - MADE_UP_S)
        return max(0.0, self.due - now)

    @task
    def ask(self) -> None:
        one = next(self.asks)
        type(self).late(time.perf_counter() - self.due)
        body: Any = {"data": one.body}  # bytes are sent as they are, whatever Locust's types say
        checked = phases.random() < CHECKED_SHARE
        if not checked and not one.excused:
            self.client.request("POST", one.path, name=one.kind, headers=dict(one.headers), **body)
            return
        with self.client.request(
            "POST", one.path, name=one.kind, headers=dict(one.headers), catch_response=True, **body
        ) as response:
            if response.status_code == 200:
                length = (response.headers or {}).get(LENGTH)
                if checked and (wrong := one.wrong(response.content or b"", None if length is None else int(length))):
                    response.failure(wrong)
            elif one.excused and code_of(response.text or "") == one.excused:
                response.request_meta["name"] = one.kind + AWAY
                response.success()


def code_of(body: str) -> str | None:
    """The code of a refusal; None where it is none of ours."""
    try:
        content = json.loads(body)
    except ValueError:
        return None
    return content.get("code") if isinstance(content, dict) else None


class Steady:
    """Follows a run from its first user to the verdict.

    ``ask`` makes the requests, given the server's address; ``models``: whose batches are told of; ``meanwhile`` goes on beside
    the load until it is killed, and what it fires under the names ``beside`` is no part of it.
    """

    def __init__(
        self,
        scenario: str,
        visitor: type[Visitor],
        ask: Callable[[str], Sequence[Ask]],
        models: Callable[[str], Sequence[str]],
        meanwhile: Callable[[Environment], None] | None = None,
        beside: frozenset[str] = frozenset(),
    ) -> None:
        self.scenario, self.visitor = scenario, visitor
        self._ask, self._models, self._meanwhile, self._beside = ask, models, meanwhile, beside
        self._running: gevent.Greenlet | None = None
        self._record: Record | None = None
        self._kinds: dict[str, Kind] = {}
        self._began = self._cpu_s = 0.0
        self._before = Look()
        self._outcome: Outcome | None = None
        visitor.late = self._late
        on(events.init_command_line_parser, self.add_options)
        on(events.init, self.init)

    def add_options(self, parser: LocustArgumentParser) -> None:
        """The options of this test, beside Locust's own."""
        wanted = SCENARIOS[self.scenario]
        group = parser.add_argument_group(f"{self.scenario} load test")
        for name, default, text in (
            ("rate", wanted.rate, "requests a second, of all users together"),
            ("warm-up", 5.0, "seconds before requests count"),
            ("seconds", 60.0, "seconds for which they count"),
            ("p50-ms", wanted.p50_ms, "p50 latency allowed, in milliseconds"),
            ("p99-ms", wanted.p99_ms, "p99 latency allowed, in milliseconds"),
            ("error-share", wanted.error_share, "share of failed requests allowed, 0 to 1"),
            ("rate-share", wanted.rate_share, "share of the rate that must be reached, 0 to 1"),
        ):
            variable = f"LOADTEST_{name.replace('-', '_').upper()}"
            group.add_argument(f"--{name}", type=float, default=default, env_var=variable, help=text)
        group.add_argument("--outcome", type=Path, help="a file for what loadtests.run makes its report of")
        group.add_argument("--serving", default="", help="what the report says of the server")

    def init(self, environment: Environment, **_: object) -> None:
        """Follows the test."""
        self.environment, self.options = environment, environment.parsed_options or Namespace()
        on(environment.events.test_start, self.start)
        on(environment.events.spawning_complete, self.spawned)
        on(environment.events.request, self.heard)
        on(environment.events.test_stopping, self.stopping)
        on(environment.events.quitting, self.judge)

    def start(self, **_: object) -> None:
        """Before any user is there."""
        self.visitor.asks = itertools.cycle(self._ask(self.host))

    @property
    def host(self) -> str:
        """The server's address."""
        return self.environment.host or "http://127.0.0.1:8000"

    def spawned(self, **_: object) -> None:
        """All users are there: the warm-up begins."""
        if self._meanwhile is not None:
            self._running = gevent.spawn(self._meanwhile, self.environment)
        gevent.spawn_later(self.options.warm_up, self.begin)

    def begin(self) -> None:
        """From here on requests count."""
        # The load generator's own garbage collections would be measured as the server's latency.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 50, 1_000)
        self._before = look(self.host, self._models(self.host))
        self.environment.stats.reset_all()
        self._began, self._cpu_s = time.perf_counter(), time.process_time()
        self._record = Record(self.options.seconds)
        self._record.begin(self._began)
        log.info("warm: from here on requests count, for %g s", self.options.seconds)
        runner = self.environment.runner
        if runner is not None:
            gevent.spawn_later(self.options.seconds, runner.quit)

    def heard(self, name: str, response_time: float, exception: BaseException | None = None, **_: object) -> None:
        """A request has come to its end."""
        record = self._record
        if record is None or self._outcome is not None:
            return
        kind = self._kinds.get(name)
        if kind is None:
            kind = self._kinds[name] = Kind(beside=name in self._beside)
        now, latency = time.perf_counter(), response_time / 1e3
        if exception is not None:
            kind.failed += 1
            record.failure(f"{name}: {type(exception).__name__}"[:80], now, str(exception)[:300])
            return
        kind.latency.add(latency)
        if not kind.beside and not name.endswith(AWAY):
            record.answered(now - latency, now, 1, _UNTOLD)

    def stopping(self, **_: object) -> None:
        """Before the users are stopped: what they then have in flight never comes to count."""
        record = self._record
        if record is None or self._outcome is not None:
            return
        seconds = time.perf_counter() - self._began
        busy = (time.process_time() - self._cpu_s) / seconds
        record.end()
        self._record = None  # the last look takes a moment
        if self._running is not None:
            self._running.kill()
        told = between(self._before, look(self.host, self._models(self.host)))
        self._outcome = self._made(record, seconds, busy, told)

    def judge(self, **_: object) -> None:
        """Prints the verdict, and makes it the exit code."""
        outcome = self._outcome or self._made(Record(1.0), 0.0, 0.0, Told())
        self.environment.process_exit_code = int(not all(check.passed for check in outcome.checks))
        print(f"\n{self.scenario}: {table(self._measured(outcome.result), outcome.checks)}\n", flush=True)
        if self.options.outcome is not None:
            outcome.save(self.options.outcome)

    def _made(self, record: Record, seconds: float, busy: float, told: Told) -> Outcome:
        options = self.options
        users, wanted = options.num_users or 1, options.seconds
        asked = Asked(self.host, self.scenario, None, "Locust", users, options.rate, "constant", 1, wanted, options.warm_up)
        not_told = "" if told.batches else "they cannot be read, or went back"
        result = Result(asked, record, seconds, busy, 0, seconds < 0.99 * wanted, users, told.all, not_told)
        thresholds = Thresholds(options.rate, options.rate_share, options.p50_ms, options.p99_ms, options.error_share)
        return Outcome(self.scenario, options.serving, result, self._kinds, told, verdict(self._measured(result), thresholds))

    def _measured(self, result: Result) -> Measured:
        latency = result.record.latency
        p50, p99 = (round(1e3 * found, 2) for found in latency.percentiles((50, 99)) or (0.0, 0.0))
        load = [kind.latency.count + kind.failed for kind in self._kinds.values() if not kind.beside]
        return Measured(sum(load), result.record.failed, result.seconds, p50, p99)

    def _late(self, seconds: float) -> None:
        if self._record is not None:
            self._record.sent += 1
            self._record.late.add(max(0.0, seconds))


def on(hook: EventHook, listener: Callable[..., None]) -> None:
    """Has Locust call the listener."""
    hook.add_listener(listener)  # type: ignore[no-untyped-call]  # Locust is typed but for this
