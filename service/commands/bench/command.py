"""`tureen bench`: the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NoReturn

import click

from service.commands.bench import payload, png
from service.commands.bench.arrivals import Arrivals
from service.commands.bench.charts import charts, stacked
from service.commands.bench.options import REPORT, asking
from service.commands.bench.page import page
from service.commands.bench.result import Asked, Result
from service.commands.bench.run import run
from service.commands.bench.target import Target
from service.commands.bench.text import text
from service.commands.client import DEFAULT_URL, Client, Refused, Unreachable
from service.commands.credential import credential, key_file, shown
from service.commands.terminal import echo, visible

#: No request succeeded; nothing could be asked.
FAILED, UNUSABLE = 1, 2
#: Connections of a closed loop, and the most of an open one.
CLOSED, OPEN = 32, 256
_MOST_CONNECTIONS = 4096
_SECONDS = click.FloatRange(min=0.1, max=24 * 3600)


@click.command()
@click.argument("model")
@click.option("--version", metavar="V", help="The version to ask.  [default: whichever answers]")
@click.option("--url", default=DEFAULT_URL, show_default=True, help="Where the server listens.")
@key_file
@click.option(
    "--connections",
    type=click.IntRange(1, _MOST_CONNECTIONS),
    help=f"Connections, each of which asks again once it is answered.  [default: {CLOSED}; with --rate the most, {OPEN}]",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True, max=1e6),
    help="Requests a second, sent when they are due, answered or not.  [default: as they are answered]",
)
@click.option(
    "--arrivals", type=click.Choice(["constant", "poisson"]), help="With --rate: evenly, or by chance.  [default: poisson]"
)
@click.option("--duration", type=_SECONDS, default=10.0, show_default=True, help="Seconds that are measured.")
@click.option(
    "--warmup", type=click.FloatRange(min=0, max=3600), default=2.0, show_default=True, help="Seconds before that do not count."
)
@asking
@click.option("--deadline-ms", type=click.IntRange(1), help="The deadline that each request asks for.  [default: the model's]")
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), default=10.0, show_default=True, help="Seconds for an answer."
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="What is made up, and when it is due.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--html", type=REPORT, help="Write the report, with charts, into this file.")
@click.option("--png", "picture", type=REPORT, help="Write the charts into this file.")
def bench(
    model: str,
    version: str | None,
    url: str,
    key_file: Path | None,
    connections: int | None,
    rate: float | None,
    arrivals: Arrivals | None,
    duration: float,
    warmup: float,
    rows: int | None,
    distinct: int | None,
    data: Path | None,
    protocol: payload.Protocol,
    deadline_ms: int | None,
    timeout: float,
    seed: int,
    as_json: bool,
    html: Path | None,
    picture: Path | None,
) -> None:
    """Drive a running server with requests for MODEL, and report rates, latencies and the batches that it formed.

    Latencies count from when a request was due, sent or not. An interrupt ends the run early and reports. Exits 1 when no request
    succeeded, 2 when there was nothing to ask, or nobody.
    """
    if arrivals is not None and rate is None:
        raise click.UsageError("--arrivals goes with --rate: without it, requests are sent as others are answered")
    if data is not None and (rows is not None or distinct is not None):
        raise click.UsageError("--rows and --distinct are of requests that are made up; leave them out with --data")
    for file in (html, picture):
        if file is not None and not file.absolute().parent.is_dir():
            raise click.UsageError(f"there is no directory {file.parent} to write {file.name} into; make it first")
    bound = connections or (CLOSED if rate is None else OPEN)
    asked = Asked(url.rstrip("/"), model, version, protocol, bound, rate, arrivals or "poisson", seed, duration, warmup)
    try:
        target = Target(url, model, version, protocol, shown(credential(key_file), url), deadline_ms)
        result = _measured(asked, target, data, rows or 1, distinct or 64, timeout)
    except (payload.Unusable, Unreachable, Refused) as error:
        _stop(str(error), UNUSABLE)
    if result is None:
        _stop("interrupted before anything was measured", FAILED)
    if as_json:
        click.echo(json.dumps(result.json(), indent=2))
    else:
        echo(text(result))
    _write(result, html, picture)
    sys.exit(0 if result.record.ok else FAILED)


def _measured(asked: Asked, target: Target, data: Path | None, rows: int, distinct: int, timeout_s: float) -> Result | None:
    """Raises Unusable, Unreachable and Refused."""
    try:
        client = Client(target.url, timeout_s, target.key)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--url") from None
    with client:
        bodies = payload.bodies(target.config(client), target.protocol, data, rows, distinct, asked.seed)
        reply = target.tried(client, bodies[0])
        if 400 <= reply.status < 500:  # it will never be answered otherwise
            mend = "mend the file of --data" if data is not None else "what was made up does not suit it; give requests with --data"
            _stop(f"{asked.model} answers {reply.status}: {reply.error}; {mend}", FAILED)
        try:
            return run(asked, target, client, target.prepared(bodies), timeout_s)
        except ValueError as error:
            raise click.UsageError(str(error)) from error


def _write(result: Result, html: Path | None, picture: Path | None) -> None:
    try:
        if html is not None:
            html.write_text(page(result), encoding="utf-8")
        if picture is not None:
            asked = result.asked
            said = [f"{asked.model} {asked.version or ''}".strip(), f"{asked.url}, {asked.protocol}: {asked.load}"]
            said.append(f"{result.rate:,.1f} requests/s, {result.record.failed:,} failed, {result.unsent:,} never sent")
            png.write(stacked(charts(result), [visible(line) for line in said]), picture)
    except OSError as error:
        _stop(f"the report cannot be written: {error.filename}: {error.strerror}", UNUSABLE)


def _stop(problem: str, code: int) -> NoReturn:
    echo(f"tureen: {problem}", err=True)
    sys.exit(code)
