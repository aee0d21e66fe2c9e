"""The server and model to be driven: what it tells of itself, and requests as they go over the wire."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from service.commands.bench.batches import Counted, counted
from service.commands.bench.drive import Address, Prepared
from service.commands.bench.payload import Body, Protocol, Unusable
from service.commands.client import REFUSALS, Client, Refused, Reply, Unreachable
from service.commands.exposition import samples

#: Workers put what they count where all can read it each 0.5 s (``service.metrics.probe``).
_PUBLISHED_S = 0.75


@dataclass(frozen=True, slots=True)
class Target:
    """A model of a server. ``version``: None for whichever answers; ``deadline_ms``: what every request asks to be answered in."""

    url: str
    model: str
    version: str | None
    protocol: Protocol
    key: str | None = None
    deadline_ms: int | None = None

    @property
    def address(self) -> Address:
        """Where it listens."""
        parts = urlsplit(self.url)
        tls = ssl.create_default_context() if parts.scheme == "https" else None
        return Address(parts.hostname or "", parts.port or (80 if tls is None else 443), tls)

    @property
    def path(self) -> str:
        """Where requests go."""
        if self.protocol == "tfserving":
            return f"/v1/models/{self._named}:predict"
        return f"/v2/models/{self._named}/infer"

    def headers(self, body: Body) -> dict[str, str]:
        """Those of a request, but for the credential and what every request has."""
        found = {"content-type": "application/json" if body.json_length is None else "application/octet-stream"}
        if body.json_length is not None:
            found["inference-header-content-length"] = str(body.json_length)
        if self.deadline_ms is not None:
            found["x-request-timeout-ms"] = str(self.deadline_ms)
        return found

    def prepared(self, bodies: Sequence[Body]) -> list[Prepared]:
        """The requests, whole."""
        parts = urlsplit(self.url)
        always = {"host": parts.netloc, "user-agent": "tureen-bench"}
        if self.key is not None:
            always["authorization"] = f"Bearer {self.key}"
        first = f"POST {parts.path.rstrip('/')}{self.path} HTTP/1.1"
        made = []
        for body in bodies:
            fields = {**always, **self.headers(body), "content-length": str(len(body.content))}
            head = "\r\n".join([first, *(f"{name}: {value}" for name, value in fields.items()), "", ""])
            made.append(Prepared(head.encode("ascii") + body.content, body.rows))
        return made

    def config(self, client: Client) -> Mapping[str, Any]:
        """What the server says of the model. Raises Unreachable, Refused, and Unusable where it has no such model."""
        reply = _taken(client, client.get(f"/v2/models/{self._named}/config"))
        found = reply.json()
        if reply.status != 200 or not isinstance(found, dict):
            if isinstance(found, dict) and "code" in found:
                raise Unusable(f"{self.model}: {reply.error}; `tureen models` lists what there is")
            raise Unreachable(f"what answers at {client.url} is no server of models ({reply.error}); check --url")
        return found

    def tried(self, client: Client, body: Body) -> Reply:
        """The answer to one request. Raises Unreachable and Refused."""
        return _taken(client, client.send(self.path, body.content, self.headers(body)))

    def counted(self, client: Client) -> Counted:
        """What the server has counted by now; call while nothing is in flight. Raises Unreachable, and Refused."""
        if client.get("/metrics").status == 200:
            time.sleep(_PUBLISHED_S)
        stats = _taken(client, client.get(f"/v2/models/{self._named}/stats"))
        if stats.status != 200:
            raise Unreachable(stats.error)
        scrape = client.get("/metrics")
        scraped = samples(scrape.body.decode("utf-8", "replace")) if scrape.status == 200 else None
        try:
            return counted(stats.json(), scraped, self.model, self.version)
        except ValueError as error:
            raise Unreachable(f"what it tells of its batches cannot be read: {error}") from error

    @property
    def _named(self) -> str:
        version = "" if self.version is None else f"/versions/{quote(self.version, safe='')}"
        return f"{quote(self.model, safe='')}{version}"


def _taken(client: Client, reply: Reply) -> Reply:
    if reply.status in REFUSALS:
        raise Refused(f"{client.url} refuses: {reply.error}")
    return reply
