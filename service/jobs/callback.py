"""Tells whoever asked that a job is over: its JSON, POSTed to the address that he gave, where the configuration allows that host.

    claim_callback -> POST, no redirect followed -> delivered (2xx), or due again, or given up

The ledger remembers what is due, so a restart or a worker's death delays a callback and loses none; it may come twice, never before
the job is over. What the other end answers beside its status is not read.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import msgspec

from models.errors import Problem
from service.errors import BadRequest, StoreUnavailable
from service.jobs.desk import Desk
from service.jobs.record import Calling
from service.jobs.telling import told
from service.protocol.json_data import clip
from service.sections import Jobs

log = logging.getLogger("tureen.jobs")

#: When the next try follows a failed one (seconds); after the last there is none.
PAUSES: Final = (2.0, 10.0, 60.0, 300.0, 1800.0)
#: How often the ledger is asked for callbacks that are due (seconds).
LOOK_S: Final = 1.0
_LONGEST = 2048
_STATUS_LINE: Final = 1024
_PORTS: Final = {"http": 80, "https": 443}


class Undelivered(Exception):
    """The other end did not take it."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to POST. ``target``: the path with its query."""

    secure: bool
    host: str
    port: int
    authority: str
    target: str

    @classmethod
    def parse(cls, url: str, hosts: tuple[str, ...]) -> Address:
        """A caller's URL, of one of those hosts. Raises BadRequest."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise _refused(url, str(error)) from None
        if parts.scheme not in _PORTS or not parts.hostname:
            raise _refused(url, "it is no http:// or https:// URL")
        plain = url.isascii() and url.isprintable() and " " not in url and len(url) <= _LONGEST
        if not plain or parts.fragment or "@" in parts.netloc:
            raise _refused(
                url, f"it is longer than {_LONGEST} characters, or has a user, a fragment, or characters that no URL has"
            )
        own = _PORTS[parts.scheme]
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        authority = host if port in (None, own) else f"{host}:{port}"
        if authority not in hosts and f"{host}:{port or own}" not in hosts:
            raise _refused(url, f"{authority[:200]} is not among the hosts that callbacks may reach ([jobs] callback_hosts)")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.scheme == "https", parts.hostname, port or own, authority, target)


class Callbacks:
    """One worker's share of them."""

    def __init__(self, desk: Desk, bounds: Jobs) -> None:
        self._desk = desk
        self._bounds = bounds
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to look; where no host may be reached there is nothing to look for."""
        if self._bounds.callback_hosts:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Ends; a callback that is under way is due again after its timeout."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        timeout_s = self._bounds.callback_timeout_ms / 1000
        while True:
            try:
                calling = await self._desk.ask(self._desk.ledger.claim_callback, 2 * timeout_s + 5)
                if calling is not None:
                    await self._call(calling, timeout_s)
                    continue
            except StoreUnavailable as error:
                log.warning("callbacks wait: %s", error)
            await asyncio.sleep(LOOK_S)

    async def _call(self, calling: Calling, timeout_s: float) -> None:
        job = calling.job
        again_in_s: float | None = None
        try:
            address = Address.parse(job.callback or "", self._bounds.callback_hosts)
            async with asyncio.timeout(timeout_s):
                status = await post(address, msgspec.json.encode(told(job)))
            log.info("callback of job %s delivered: %d", job.id, status)
        except BadRequest as error:  # the hosts are others since it was taken
            log.warning("callback of job %s given up: %s", job.id, error)
        except (OSError, TimeoutError, Undelivered, ValueError) as error:
            why = str(error) or type(error).__name__
            if calling.tries < len(PAUSES):
                again_in_s = PAUSES[calling.tries]
                log.warning("callback of job %s failed: %s; the next try is in %g s", job.id, why, again_in_s)
            else:
                log.error("callback of job %s given up after %d tries: %s", job.id, calling.tries + 1, why)
        await self._desk.ask(self._desk.ledger.called, job.id, again_in_s)


async def post(address: Address, body: bytes) -> int:
    """The status of 2xx that the other end answers. Raises Undelivered for any other, OSError, ValueError where it is no HTTP."""
    # It reads all of the system's certificates, which takes its time.
    context = await asyncio.to_thread(ssl.create_default_context) if address.secure else None
    reader, writer = await asyncio.open_connection(address.host, address.port, ssl=context, limit=_STATUS_LINE)
    try:
        head = (
            f"POST {address.target} HTTP/1.1\r\nHost: {address.authority}\r\nUser-Agent: tureen\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode("ascii") + body)
        await writer.drain()
        line = await reader.readline()
    finally:
        writer.close()
    version, _, rest = line.partition(b" ")
    if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
        raise Undelivered("the other end does not answer in HTTP")
    status = int(rest[:3])
    if not 200 <= status < 300:
        raise Undelivered(f"the other end answered {status}" + (", and redirects are not followed" if 300 <= status < 400 else ""))
    return status


def _refused(url: str, why: str) -> BadRequest:
    problem = Problem("callback", why, "an http:// or https:// URL of an allowed host", clip(url))
    return BadRequest(f"the callback {clip(url)!r} is not taken: {why}", problem)
