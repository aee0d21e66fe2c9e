"""Asynchronous jobs: taken while their body arrives, told of, followed, cancelled, forgotten."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Final, TypeVar, TypeVarTuple

import msgspec
import quart
from quart import Blueprint, request

from models.errors import Problem
from models.nearest import nearest
from service.blueprints.answers import answer, as_quart, grant, name
from service.context import Service, service_of
from service.errors import BadRequest, Draining, ServiceError, Unauthorized, UnknownJob, UnknownPath
from service.failures import failure
from service.guard.principal import Scope
from service.guard.stay import Stay
from service.jobs.callback import Address
from service.jobs.desk import Desk
from service.jobs.intake import Intake, too_large
from service.jobs.record import Job
from service.jobs.telling import last_line, told
from service.lane.express import peer_of
from service.protocol.json_data import clip
from service.response import PRIVATE, Header, Response, lines

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")

jobs = Blueprint("jobs", __name__, url_prefix="/v1/jobs")

#: The one whose body is read while it arrives.
STREAMED: Final = frozenset({("POST", "/v1/jobs")})
#: Rows are written to the ledger once there are so many bytes of them, or the first has waited so long (seconds). Of more at once
#: the others notice: while 1 MiB is written they wait for the interpreter, at 63 MB of rows 140 ms at the median.
_WRITE_BYTES, _WRITE_S = 128 * 1024, 1.0
#: How often a job that is followed is looked at, and how many bytes of results are read at once, about.
_LOOK_S, _READ_BYTES = 0.1, 256 * 1024
_FIRST_READ, _MOST_READ = 16, 4096
_ASKED: Final = ("model", "version", "label", "callback")
_KEY = re.compile(r"[\x21-\x7e]{1,128}")
_NDJSON = (b"content-type", b"application/x-ndjson")


@jobs.post("")
async def create() -> quart.Response:
    """A job of the rows in the body, for the model that the query names: 202, its address and its JSON."""
    service, desk = service_of(), _desk()
    if service.engine.draining:
        raise Draining("the server is about to stop and takes no more jobs; ask another, or again")
    asked = _query(_ASKED)
    model, version, label = asked.get("model"), asked.get("version"), asked.get("label")
    if not model:
        raise BadRequest("the query names no model; ask for /v1/jobs?model=NAME", Problem("model", "it is missing"))
    if version is not None and label is not None:
        raise BadRequest("the query has both version and label; give one of them")
    callback, key, bounds = asked.get("callback"), _idempotency_key(), service.config.jobs
    if callback is not None:
        Address.parse(callback, bounds.callback_hosts)
    signature = service.engine.served(model, version, label).signature
    if not signature.batched:
        raise BadRequest(f"the model {model!r} takes no rows: its tensors' first dimension counts something else; ask it directly")
    length = request.content_length
    if length is not None and length > bounds.body_bytes:
        raise too_large(bounds.body_bytes, length)
    kind, encoding = request.headers.get("content-type", ""), ", ".join(request.headers.getlist("content-encoding"))
    intake = Intake(kind, encoding, signature, bounds)
    principal = grant().principal
    step = partial(desk.ledger.create, principal, model, version, label, callback=callback, idempotency_key=key)
    job, known = await _made(desk, step)
    digest = hashlib.sha256(f"{kind}\n{encoding}\n".encode())
    if known:
        await _digest(service, digest)
        await desk.ask(desk.ledger.check, job.id, digest.digest())
        return _accepted(await desk.ask(desk.ledger.get, job.id))
    try:
        await _receive(service, desk, job, intake, digest)
        job = await desk.ask(desk.ledger.seal, job.id, digest.digest())
    except BaseException:  # also where the client left
        await asyncio.shield(desk.ask(desk.ledger.abandon, job.id))
        raise
    desk.wake()
    return _accepted(job)


@jobs.get("")
async def every() -> quart.Response:
    """The caller's jobs, the newest first; everybody's, for the scope admin."""
    desk = _desk()
    _query(())
    principal = grant().principal
    owner = None if principal.may(Scope.ADMIN) else principal.name
    return answer({"jobs": [told(job) for job in await desk.ask(desk.ledger.listed, owner)]})


@jobs.get("/<segment:job>")
async def one(job: str) -> quart.Response:
    """What has become of a job."""
    _query(())
    return answer(told(await _own(_desk(), job)))


@jobs.delete("/<segment:job>")
async def end(job: str) -> quart.Response:
    """Cancels a job that is not over, which keeps the results that it has; forgets one that is, with its results."""
    desk = _desk()
    _query(())
    found = await _own(desk, job)
    if found.state.final:
        await desk.ask(desk.ledger.delete, found.id)
        return as_quart(Response(204, b"", lines(_common())))
    return answer(told(await desk.ask(desk.ledger.cancel, found.id)))


@jobs.get("/<segment:job>/results")
async def results(job: str) -> quart.Response:
    """The results as lines of JSON, in the order of the rows, from row `from` on; while the job runs they are sent as they come,
    unless `follow` is false."""
    service, desk = service_of(), _desk()
    asked = _query(("from", "follow"))
    start, follow = asked.get("from", "0"), asked.get("follow", "true")
    if not (start.isascii() and start.isdigit() and len(start) <= 19 and int(start) < 2**63):
        raise BadRequest(f"from is {clip(start)!r}; expected the number of a row, from 0 on")
    if follow not in ("true", "false"):
        raise BadRequest(f"follow is {clip(follow)!r}; expected true or false")
    found = await _own(desk, job)
    made = as_quart(Response(200, b"", lines((_NDJSON, *_common()))))
    if request.method != "HEAD":  # whose answer Quart would make all the same, for as long as the job runs
        headers, peer = list(request.scope["headers"]), peer_of(request.scope)
        stay = Stay(service.gate, grant().principal, headers, peer, Scope.INFER, found.model)
        made.response = made.iterable_body_class(_results(service, desk, found, int(start), stay, follow=follow == "true"))
        made.timeout = None
    return made


async def _results(service: Service, desk: Desk, job: Job, at: int, stay: Stay, *, follow: bool) -> AsyncIterator[bytes]:
    """It runs without the request's context. What ends it early is its last line, for the status is sent by then."""
    limit = _FIRST_READ
    try:
        while True:
            job = await desk.ask(desk.ledger.get, job.id)  # before the results, so that those of a job that is over are all there
            found = await desk.ask(desk.ledger.results, job.id, at, limit)
            if found:
                at += len(found)
                block = b"\n".join(found) + b"\n"
                limit = max(1, min(_MOST_READ, len(found) * _READ_BYTES // len(block)))
                yield block
            elif job.state.final or not follow:
                break
            else:
                await asyncio.sleep(_LOOK_S)
            if not stay.holds():
                raise Unauthorized("the credential's time is over")
            if service.engine.draining:
                raise Draining(f"the server is about to stop; ask again with from={at}")
        last = last_line(job) if job.state.final else None
    except ServiceError as error:
        known = failure(error)
        last = {"error": known.message, "code": known.code}
    if last is not None:
        yield msgspec.json.encode(last) + b"\n"


async def _made(desk: Desk, step: Callable[[], tuple[Job, bool]]) -> tuple[Job, bool]:
    """The job, and whether it was there before. One that is made for a client who has left is abandoned: nobody sends its rows."""
    making = asyncio.ensure_future(desk.ask(step))
    try:
        return await asyncio.shield(making)
    except asyncio.CancelledError:
        await asyncio.shield(_unmade(desk, making))
        raise


async def _unmade(desk: Desk, making: asyncio.Future[tuple[Job, bool]]) -> None:
    with suppress(ServiceError):  # then there is none
        job, known = await making
        if not known:
            await desk.ask(desk.ledger.abandon, job.id)


async def _receive(service: Service, desk: Desk, job: Job, intake: Intake, digest: hashlib._Hash) -> None:
    """Writes the body's rows to the ledger while they arrive."""
    rows: list[bytes] = []
    size, first = 0, 0.0

    async def keep(chunks: Iterator[list[bytes]]) -> None:
        nonlocal rows, size, first
        while (chunk := await _in_thread(service, next, chunks, None)) is not None:
            first = first if rows else monotonic()
            rows += chunk
            size += sum(map(len, chunk))
            if size >= _WRITE_BYTES or monotonic() - first > _WRITE_S:
                await desk.ask(desk.ledger.append, job.id, rows)
                rows, size = [], 0

    def read(data: bytes) -> Iterator[list[bytes]]:
        digest.update(data)
        yield from intake.feed(data)

    async for data in request.body:
        await keep(read(data))
    await keep(intake.close())
    if rows:
        await desk.ask(desk.ledger.append, job.id, rows)


async def _digest(service: Service, digest: hashlib._Hash) -> None:
    """Reads a body whose rows are known."""
    came, most = 0, service.config.jobs.body_bytes
    async for data in request.body:
        came += len(data)
        if came > most:
            raise too_large(most)
        await _in_thread(service, digest.update, data)


async def _own(desk: Desk, job_id: str) -> Job:
    """The job, where it is the caller's or he may see all. Raises UnknownJob, in the same words for one that is not there."""
    principal = grant().principal
    try:
        found = await desk.ask(desk.ledger.get, job_id)
    except UnknownJob:
        found = None
    if found is None or not (found.owner == principal.name or principal.may(Scope.ADMIN)):
        raise UnknownJob(f"there is no job {clip(job_id)!r}, or it was forgotten by now; GET /v1/jobs lists yours")
    return found


def _desk() -> Desk:
    desk = service_of().jobs
    if desk is None:
        raise UnknownPath("this server takes no jobs: [jobs] enabled is false, or it has nowhere to keep them")
    return desk


def _query(taken: Sequence[str]) -> dict[str, str]:
    """The query's parameters, each of which has to be one of those. Raises BadRequest."""
    for key in request.args:
        if key not in taken:
            known = f"did you mean {nearest(key, taken)}?" if taken else "leave it out"
            raise BadRequest(f"the query has a parameter {clip(key)!r}, which is not taken here; {known}")
        if len(request.args.getlist(key)) > 1:
            raise BadRequest(f"the query gives {key!r} twice; give it once")
    return {key: request.args[key] for key in request.args}


def _idempotency_key() -> str | None:
    given = request.headers.getlist("idempotency-key")
    if not given:
        return None
    if len(given) > 1 or not _KEY.fullmatch(given[0]):
        raise BadRequest("Idempotency-Key is not 1 to 128 visible ASCII characters; send a random one, such as a UUID, once")
    return given[0]


def _accepted(job: Job) -> quart.Response:
    return answer(told(job), 202, ((b"location", f"{request.root_path}/v1/jobs/{job.id}".encode()),))


def _common() -> tuple[Header, ...]:
    return (b"x-request-id", name().encode("latin-1")), *PRIVATE


async def _in_thread(service: Service, step: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
    return await asyncio.get_running_loop().run_in_executor(service.engine.threads.decoding, step, *arguments)
