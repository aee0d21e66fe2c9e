"""`tureen tune`: the command line."""

from __future__ import annotations

import json
import os
import signal
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from models.errors import LoadError
from service.commands.bench import payload, png
from service.commands.bench.charts import stacked
from service.commands.bench.options import REPORT, asking
from service.commands.client import Refused, Unreachable
from service.commands.terminal import echo, visible
from service.commands.tune.chart import charts
from service.commands.tune.choice import Goal
from service.commands.tune.page import page
from service.commands.tune.report import Report
from service.commands.tune.rig import NotTaken
from service.commands.tune.run import NotAnswered, Requests, run
from service.commands.tune.server import NotServed
from service.commands.tune.text import text
from service.config import Config
from service.errors import ConfigError, in_lines

#: No request succeeded; nothing could be asked.
FAILED, UNUSABLE = 1, 2
CONFIG = Path("tureen.toml")
#: Letters of a line in the picture.
_WIDTH = 105


@click.command()
@click.argument("model")
@click.option(
    "--repository",
    type=click.Path(path_type=Path),
    help="The models' directory, a model's or its file.  [default: what `tureen serve` would serve]",
)
@click.option("--config", "file", type=click.Path(path_type=Path), help="Configuration file.  [default: tureen.toml, if there]")
@click.option("--server", type=click.Choice(["hypercorn", "uvicorn"]), help="HTTP server.  [default: hypercorn]")
@click.option(
    "--p99-ms",
    type=click.FloatRange(min=0.1, max=60_000),
    default=20.0,
    show_default=True,
    help="The goal: 99 of 100 requests are answered within so many milliseconds.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0.1, max=1e6),
    help="Find the lowest p99 at so many requests a second.  [default: the highest rate that meets the goal]",
)
@click.option("--max", "highest", is_flag=True, help="Find the highest rate that meets the goal, as without --rate.")
@click.option(
    "--minutes", type=click.FloatRange(min=0.05, max=600), default=2.0, show_default=True, help="How long it may take, about."
)
@click.option(
    "--connections",
    type=click.IntRange(1, 1024),
    default=64,
    show_default=True,
    help="Connections of a closed loop, which finds out where to begin.",
)
@asking
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="What is made up.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--html", type=REPORT, help="Write the report, with its chart, into this file.")
@click.option("--png", "picture", type=REPORT, help="Write the chart into this file.")
def tune(
    model: str,
    repository: Path | None,
    file: Path | None,
    server: str | None,
    p99_ms: float,
    rate: float | None,
    highest: bool,
    minutes: float,
    connections: int,
    rows: int | None,
    distinct: int | None,
    data: Path | None,
    protocol: payload.Protocol,
    seed: int,
    as_json: bool,
    html: Path | None,
    picture: Path | None,
) -> None:
    """Try batching settings for MODEL on this machine, and print those that meet a latency goal.

    It starts a server of its own, which ends with it; others that run, and the repository's files, are left as they are. Other
    settings than the current ones are advised only where they are better by more than noise. An interrupt ends the search early and
    reports. Exits 1 when no request succeeded, 2 when there was nothing to ask.
    """
    if rate is not None and highest:
        raise click.UsageError("--max finds the highest rate, and --rate gives one; leave one of them out")
    if data is not None and (rows is not None or distinct is not None):
        raise click.UsageError("--rows and --distinct are of requests that are made up; leave them out with --data")
    for written in (html, picture):
        if written is not None and not written.absolute().parent.is_dir():
            raise click.UsageError(f"there is no directory {written.parent} to write {written.name} into; make it first")
    goal, requests = Goal(p99_ms, rate), Requests(protocol, data, rows or 1, distinct or 64, seed)
    try:
        given = file if file is not None else CONFIG if CONFIG.is_file() else None
        config = Config.resolve(given, os.environ, {"repository": repository, "server": server})
        with _ended_by_sigterm():
            report = run(model, config, goal, 60 * minutes, connections, requests)
    except ConfigError as error:
        _stop(in_lines(error), UNUSABLE)
    except NotAnswered as error:
        _stop(str(error), FAILED)
    except (LoadError, NotServed, NotTaken, payload.Unusable, Unreachable, Refused) as error:
        _stop(str(error), UNUSABLE)
    except KeyboardInterrupt:
        _stop("interrupted before anything was measured", FAILED)
    if as_json:
        click.echo(json.dumps(report.json(), indent=2))
    else:
        echo(text(report))
    _write(report, html, picture)
    answered = any(point.answered for one in report.outcome.tried for point in one.points)
    sys.exit(0 if answered else FAILED)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the search as an interrupt does, and the server with it."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _write(report: Report, html: Path | None, picture: Path | None) -> None:
    try:
        if html is not None:
            html.write_text(page(report), encoding="utf-8")
        if picture is not None:
            said = [report.model, f"{report.load}; {report.machine}", *report.advice]
            lines = [line for sentence in said for line in textwrap.wrap(visible(sentence), _WIDTH)]
            png.write(stacked(charts(report), lines), picture)
    except OSError as error:
        _stop(f"the report cannot be written: {error.filename}: {error.strerror}", UNUSABLE)


def _stop(problem: str, code: int) -> NoReturn:
    echo(f"tureen: {problem}", err=True)
    sys.exit(code)
