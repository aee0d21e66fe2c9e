"""One look at a running server: what it answers to a few requests, as it came."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from service.commands.client import REFUSALS, Client, Refused, Reply, Unreachable
from service.commands.exposition import Sample, samples

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen, and when (``time.monotonic()``). ``samples`` is None where there were no metrics to be had; a model version's
    platform is there when it is ready. ``withheld``: what the server did not tell this caller, and why."""

    at: float
    server: Json
    ready: bool
    reason: str = ""
    index: Sequence[Json] = ()
    platforms: Mapping[tuple[str, str], str] = field(default_factory=dict)
    statistics: Sequence[Json] = ()
    samples: Sequence[Sample] | None = None
    withheld: Mapping[str, str] = field(default_factory=dict)


def look(client: Client, known: Mapping[tuple[str, str], str] | None = None) -> Look:
    """Asks; the platforms in ``known`` are not asked for again. Raises Unreachable, and Refused where nothing is told."""
    withheld: dict[str, str] = {}
    first = client.get("/v2")
    if first.status in REFUSALS - {403}:
        raise Refused(f"{client.url} refuses: {first.error}")
    server = _object(client, _told(first, "server", withheld, _SERVER))
    if "name" not in server:
        raise Unreachable(f"what answers at {client.url} does not speak the Open Inference Protocol; check --url")
    readiness = client.get("/v2/health/ready")
    index = _objects(client, _told(client.post("/v2/repository/index"), "models", withheld, _NOTHING))
    statistics = client.get("/v2/models/stats").json()
    scrape = _told(client.get("/metrics"), "metrics", withheld, Reply(404, b""))
    if {"server", "models", "metrics"} <= withheld.keys():
        raise Refused(f"{client.url} refuses: {first.error}")
    platforms = dict(known or {})
    for entry in index:
        key = (str(entry.get("name")), str(entry.get("version")))
        if entry.get("state") == "READY" and key not in platforms:
            path = f"/v2/models/{quote(key[0], safe='')}/versions/{quote(key[1], safe='')}"
            found = client.get(path).json()
            platforms[key] = str(found.get("platform", "")) if isinstance(found, dict) else ""
    return Look(
        time.monotonic(),
        server,
        readiness.status == 200,
        _reason(readiness),
        index,
        platforms,
        _listed(statistics.get("model_stats") if isinstance(statistics, dict) else None),
        tuple(samples(scrape.body.decode("utf-8", "replace"))) if scrape.status == 200 else None,
        withheld,
    )


#: What is known of a server, and of its models, that does not say.
_SERVER, _NOTHING = Reply(200, b'{"name": "tureen", "version": ""}'), Reply(200, b"[]")


def _told(reply: Reply, part: str, withheld: dict[str, str], instead: Reply) -> Reply:
    """The reply, or what stands for it where the server refuses to tell this caller."""
    if reply.status not in REFUSALS:
        return reply
    withheld[part] = reply.error
    return instead


def _reason(readiness: Reply) -> str:
    """Which workers are not ready, and why."""
    content = readiness.json()
    if readiness.status == 200 or not isinstance(content, dict):
        return ""
    problems = _listed(content.get("problems"))
    if not problems:
        return str(content.get("error", ""))
    return "; ".join(f"worker {each.get('worker')} (pid {each.get('pid')}): {each.get('problem')}" for each in problems)


def _object(client: Client, reply: Reply) -> Json:
    content = reply.json()
    if reply.status != 200 or not isinstance(content, dict):
        raise Unreachable(f"what answers at {client.url} is no server of models ({reply.error}); check --url")
    return content


def _objects(client: Client, reply: Reply) -> list[Json]:
    if reply.status != 200:
        raise Unreachable(f"{client.url} does not say what it has loaded: {reply.error}")
    return _listed(reply.json())


def _listed(content: object) -> list[Json]:
    return [entry for entry in content if isinstance(entry, dict)] if isinstance(content, list) else []
