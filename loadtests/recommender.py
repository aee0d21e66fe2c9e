"""Recommendations at a steady rate, one user a request, and a verdict: exit code 1 where a threshold is missed.

    python -m locust --config loadtests/locust.conf --host http://127.0.0.1:8000        a running server
    python -m loadtests.run                                                             a server of its own

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
from collections.abc import Callable

import gevent
from locust import FastHttpUser, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.event import EventHook

from loadtests.verdict import Measured, Thresholds, table, verdict
from loadtests.zipf import users

PATH = "/v1/models/recommender:predict"
K = 10
POPULATION, ALPHA = 10_000, 1.1
# Parsing every answer would cost the server, on the same cores, more than it is worth.
CHECKED_SHARE = 0.01
MADE_UP_S = 0.25
HEADERS = {"Content-Type": "application/json", "Accept-Encoding": "identity"}

log = logging.getLogger("loadtest")
phases = random.Random(1)
bodies = itertools.cycle(
    [json.dumps({"instances": [{"user_id": user, "k": K}]}) for user in users(POPULATION, ALPHA, 1 << 16, seed=1)]
)


class Visitor(FastHttpUser):
    """Asks for its share of the rate, its requests spread evenly in time."""

    # One try: a load test has no use for an answer that a second try would have given.
    max_retries = 0
    connection_timeout = 10.0
    network_timeout = 10.0
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
    def recommend(self) -> None:
        if phases.random() >= CHECKED_SHARE:
            self.client.request("POST", PATH, data=next(bodies), headers=HEADERS)
            return
        with self.client.request("POST", PATH, data=next(bodies), headers=HEADERS, catch_response=True) as response:
            if response.status_code == 200 and (wrong := complaint(response.text or "")):
                response.failure(wrong)


def complaint(body: str) -> str | None:
    """What is wrong with an answer; None if it holds K different items, best first."""
    try:
        (answer,) = json.loads(body)["predictions"]
        items, scores = answer["items"], answer["scores"]
    except (ValueError, KeyError, TypeError) as error:
        return f"the answer is not one prediction with items and scores: {type(error).__name__}"
    if len(set(items)) != K or len(scores) != K:
        return f"expected {K} different items with scores, got {len(items)} items, {len(scores)} scores"
    if scores != sorted(scores, reverse=True):
        return "the items are not in the order of their scores"
    return None


class Count:
    """What counts: the requests answered between the end of the warm-up and the end of the test."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.options = environment.parsed_options or Namespace()
        self.began: float | None = None
        self.measured = Measured(0, 0, 0.0, 0.0, 0.0)

    def spawned(self, **_: object) -> None:
        """All users are there: the warm-up begins."""
        gevent.spawn_later(self.options.warm_up, self.begin)

    def begin(self) -> None:
        """From here on requests count."""
        # The load generator's own garbage collections would be measured as the server's latency.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 50, 1_000)
        self.environment.stats.reset_all()
        self.began = time.perf_counter()
        log.info("warm: from here on requests count, for %g s", self.options.seconds)
        runner = self.environment.runner
        if runner is not None:
            gevent.spawn_later(self.options.seconds, runner.quit)

    def stopping(self, **_: object) -> None:
        """Before the users are stopped: what they then have in flight never comes to count."""
        if self.began is None:
            return
        total = self.environment.stats.total
        self.measured = Measured(
            requests=total.num_requests,
            failures=total.num_failures,
            seconds=time.perf_counter() - self.began,
            p50_ms=total.get_response_time_percentile(0.5),
            p99_ms=total.get_response_time_percentile(0.99),
        )

    def judge(self, **_: object) -> None:
        """Prints the verdict, and makes it the exit code."""
        options = self.options
        checks = verdict(self.measured, Thresholds(options.rate, options.rate_share, options.p99_ms, options.error_share))
        self.environment.process_exit_code = int(not all(check.passed for check in checks))
        print(f"\n{table(self.measured, checks)}\n", flush=True)


def add_options(parser: LocustArgumentParser) -> None:
    """The options of this test, beside Locust's own."""
    group = parser.add_argument_group("recommender load test")
    for name, default, text in (
        ("rate", 1000.0, "requests a second, of all users together"),
        ("warm-up", 5.0, "seconds before requests count"),
        ("seconds", 60.0, "seconds for which they count"),
        ("p99-ms", 50.0, "p99 latency allowed, in milliseconds"),
        ("error-share", 0.0, "share of failed requests allowed, 0 to 1"),
        ("rate-share", 0.99, "share of the rate that must be reached, 0 to 1"),
    ):
        variable = f"LOADTEST_{name.replace('-', '_').upper()}"
        group.add_argument(f"--{name}", type=float, default=default, env_var=variable, help=text)


def count(environment: Environment, **_: object) -> None:
    """Follows the test from the last user spawned to the verdict."""
    counting = Count(environment)
    on(environment.events.spawning_complete, counting.spawned)
    on(environment.events.test_stopping, counting.stopping)
    on(environment.events.quitting, counting.judge)


def on(hook: EventHook, listener: Callable[..., None]) -> None:
    """Has Locust call the listener."""
    hook.add_listener(listener)  # type: ignore[no-untyped-call]  # Locust is typed but for this


on(events.init_command_line_parser, add_options)
on(events.init, count)
