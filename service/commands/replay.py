"""`tureen replay`: captured requests sent again, and a summary of how the answers compare."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from service.capture.replay import Report
from service.capture.replay import replay as run
from service.commands.client import DEFAULT_URL, REFUSALS, Client, Unreachable
from service.commands.credential import VARIABLE, credential, key_file, shown
from service.commands.terminal import echo, visible


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False, readable=True))
@click.option("--url", default=DEFAULT_URL, show_default=True, help="The server to ask.")
@key_file
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), help="Requests a second at most.  [default: as they are answered]"
)
@click.option(
    "--concurrency", type=click.IntRange(1, 256), default=4, show_default=True, help="Requests in flight; 1 keeps the order."
)
@click.option("--tolerance", type=click.FloatRange(min=0), default=1e-6, show_default=True, help="How far numbers may differ.")
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), default=30.0, show_default=True, help="Seconds for an answer."
)
@click.option("-H", "--header", "given", multiple=True, metavar="'NAME: VALUE'", help="A header for every request.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def replay(
    file: Path,
    url: str,
    key_file: Path | None,
    rate: float | None,
    concurrency: int,
    tolerance: float,
    timeout: float,
    given: tuple[str, ...],
    as_json: bool,
) -> None:
    """Send the requests captured in FILE again and compare the answers.

    Exits 1 unless all that can be compared are equal, 2 where the server does not take the key.
    """
    headers = dict(map(_header, given))
    key = shown(credential(key_file), url)
    try:
        first = Client(url, timeout, key)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    _knock(first)
    try:
        report = run(
            file, lambda: Client(url, timeout, key), headers=headers, rate=rate, concurrency=concurrency, tolerance=tolerance
        )
    except OSError as error:
        raise click.UsageError(f"{file.name} cannot be read: {error.strerror}") from error
    click.echo(json.dumps(as_dict(report), indent=2) if as_json else summary(report))
    sys.exit(0 if report.ok else 1)


def summary(report: Report) -> str:
    """What a person reads."""
    sent = report.equal + report.different + report.failed
    lines = [f"  {sent} sent in {report.seconds:.1f} s: {report.equal} equal, {report.different} different, {report.failed} failed"]
    lines += [f"  {count} skipped: {reason}" for reason, count in report.skipped.most_common()]
    if not sent:
        lines.append("  nothing was compared")
    for outcome in report.shown:
        lines.append(f"  line {outcome.entry.line}, {outcome.entry.path}, {outcome.entry.id}")
        lines += [f"    {told}" for told in ([outcome.problem] if outcome.problem else outcome.differences)]
    more = report.different + report.failed - len(report.shown)
    if more:
        lines.append(f"  and {more} more")
    return "\n".join(map(visible, lines))


def as_dict(report: Report) -> dict[str, Any]:
    """What a program reads."""
    return {
        "equal": report.equal,
        "different": report.different,
        "failed": report.failed,
        "skipped": dict(report.skipped),
        "seconds": round(report.seconds, 3),
        "shown": [
            {
                "line": outcome.entry.line,
                "path": outcome.entry.path,
                "request_id": outcome.entry.id,
                "problem": outcome.problem or None,
                "differences": [
                    {"path": found.path, "expected": found.expected, "got": found.got} for found in outcome.differences
                ],
            }
            for outcome in report.shown
        ],
    }


def _knock(client: Client) -> None:
    """Ends the command where the server would refuse whatever is sent."""
    with client:
        try:
            reply = client.get("/v2")
        except Unreachable:
            return  # each request will say so
    if reply.status in REFUSALS:
        echo(f"tureen: {client.url} refuses: {reply.error}", err=True)
        sys.exit(2)


def _header(given: str) -> tuple[str, str]:
    name, colon, value = given.partition(":")
    if not colon or not name.strip():
        raise click.UsageError(f"{given[:80]!r} is no header; write it as 'NAME: VALUE'")
    if name.strip().lower() in ("authorization", "x-api-key"):
        raise click.UsageError(f"a key on the command line is read by others; put it into {VARIABLE}, or into a --key-file")
    return name.strip().lower(), value.strip()
