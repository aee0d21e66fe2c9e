"""What stands in a request's line and headers, and what may be asked with it."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from service.capture.captured import path_of
from service.errors import Unauthorized
from service.guard.credentials.credential import credential
from service.guard.credentials.key import Key, digest, identified, mint
from service.guard.credentials.keyring import Keyring
from service.guard.origin import foreign
from service.guard.principal import Principal, Scope
from service.response import lines, request_id
from service.routing import Target as Asked
from service.routing import target
from service.tracing.trace_context import Parent, parent_of
from tests.fuzz.target import Broken, Target

#: Of every test's clock (seconds since the epoch).
NOW: Final = 1_700_000_000.0

_TOKEN = re.compile(rb"[A-Za-z0-9\-._~+/]+=*")


def headers_of(data: bytes) -> list[tuple[bytes, bytes]]:
    """Lines of `name: value` as a server gives them: names in lower case, values without blanks around them."""
    pairs = [line.partition(b":") for line in data.split(b"\n")]
    return [(name.lower(), value.strip(b" \t")) for name, colon, value in pairs if colon]


def parse_credential(data: bytes) -> bytes | None:
    """The credential in a list of headers: the only one, or none."""
    headers = headers_of(data)
    found = credential(headers)
    brought = [value for name, value in headers if name in (b"authorization", b"x-api-key")]
    if found is None:
        if brought:
            raise Broken(f"{brought} is no credential, and was not refused")
    elif len(brought) != 1 or not brought[0].endswith(found) or not _TOKEN.fullmatch(found):
        raise Broken(f"{found!r} was made of {brought}")
    return found


@cache
def _keys() -> tuple[Keyring, dict[bytes, bool]]:
    """Keys that hold, and such as do not any more."""
    made = [mint() for _ in range(4)]
    until = (None, NOW + 1, NOW - 1, None)
    revoked = (None, None, None, NOW - 1)
    scopes = frozenset({Scope.INFER})
    keys = [
        Key(name, "fuzz", digest(key.encode()), scopes, expires=end, revoked=gone)
        for (name, key), end, gone in zip(made, until, revoked, strict=True)
    ]
    return Keyring(keys), {key.encode(): number < 2 for number, (_, key) in enumerate(made)}


def parse_key(data: bytes) -> Principal:
    """An API key; `0` to `3` stand for keys that were given out, so that an input can be a piece of one."""
    ring, given = _keys()
    for number, key in enumerate(given):
        data = data.replace(b"<%d>" % number, key)
    identified(data.decode("latin-1"))
    principal = ring.find(data, NOW)
    if not given.get(data):
        raise Broken(f"{data!r} is nobody's key, and taken for {principal.name}'s")
    return principal


def parse_traceparent(data: bytes) -> Parent | None:
    """The two headers of a trace, on a line each."""
    first, _, second = data.partition(b"\n")
    parent = parent_of(first, second or None)
    if parent is not None:
        written = b"00-%032x-%016x-%02x" % (parent.trace_id, parent.span_id, parent.flags)
        if parent_of(written, second or None) != parent:
            raise Broken(f"{parent} does not read as itself")
    return parent


def parse_request_id(data: bytes) -> str:
    """X-Request-Id: what is echoed can break no header and no line of a log."""
    name = request_id(data)
    if not 1 <= len(name) <= 128 or not name.isascii() or not name.isprintable() or " " in name:
        raise Broken(f"{name!r} is echoed")
    if lines([(b"x-request-id", name.encode("latin-1"))]).count(b"\r\n") != 1:
        raise Broken(f"{name!r} makes lines of its own")
    return name


def parse_target(data: bytes) -> Asked | None:
    """A path, as servers decode it."""
    path = data.decode("utf-8", "replace")
    asked = target(path)
    if asked is not None:
        again = target(path_of(asked))
        if re.fullmatch(r"(?!\.)[A-Za-z0-9._-]{1,128}", asked.model) is None:
            raise Broken(f"a model called {asked.model!r}")
        plain = re.fullmatch(r"[A-Za-z0-9._~-]*", (asked.version or "") + (asked.label or ""))
        if plain and again != asked:
            raise Broken(f"{asked} is written as {path_of(asked)!r}, which asks {again}")
        if asked.version is not None and asked.label is not None:
            raise Broken(f"{path!r} asks a version and a label")
    return asked


def parse_origin(data: bytes) -> bool:
    """Origin and Host, on a line each: a page is ours only where both say the same host."""
    origin, _, host = (text.strip() for text in data.decode("latin-1").partition("\n"))
    ours = not foreign([origin], host, False, ())
    if ours and host.lower().split(":")[0] not in origin.lower():
        raise Broken(f"a page of {origin!r} is taken for one of {host!r}")
    return ours


CREDENTIAL = Target(
    "credential",
    parse_credential,
    (Unauthorized,),
    longest=20_000,
)
KEY = Target(
    "api_key",
    parse_key,
    (Unauthorized,),
    longest=1024,
)
TRACEPARENT = Target(
    "traceparent",
    parse_traceparent,
    longest=512,
)
REQUEST_ID = Target(
    "request_id",
    parse_request_id,
    longest=300,
)
PATH = Target(
    "path",
    parse_target,
    longest=512,
)
ORIGIN = Target(
    "origin",
    parse_origin,
    longest=512,
)

TARGETS = (CREDENTIAL, KEY, TRACEPARENT, REQUEST_ID, PATH, ORIGIN)
