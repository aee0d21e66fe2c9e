"""What stands in a request's line and headers, and what may be asked with it."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from service.capture.captured import path_of
from service.errors import Unauthorized
from service.guard.credential import credential
from service.guard.key import Key, digest, identified, mint
from service.guard.keyring import Keyring
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


_SPEC = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CREDENTIAL = Target(
    "credential",
    parse_credential,
    (Unauthorized,),
    seeds=(
        b"authorization: Bearer abc.def-_~+/==\nhost: x",
        b"x-api-key: tur_abcdefghij_0123456789",
        b"authorization: Bearer a\nx-api-key: a",
        b"authorization: Basic dXNlcjpwYXNz",
        b"host: x\naccept: */*",
    ),
    tokens=(b"authorization: ", b"x-api-key: ", b"Bearer ", b"bearer  ", b"Basic ", b"\n", b",", b"=", b"\t", b"\0", b"\xff", b"A" * 8193),
    longest=20_000,
)
KEY = Target(
    "api_key",
    parse_key,
    (Unauthorized,),
    seeds=(b"<0>", b"<1>", b"<2>", b"<3>", b"<0", b"tur_abcdefghij_" + b"a" * 43, b"<0><1>"),
    tokens=(b"tur_", b"_", b"<0>", b"<1>", b"<2>", b"a" * 43, b"\0", b"\xff", b"\n"),
    longest=1024,
)
TRACEPARENT = Target(
    "traceparent",
    parse_traceparent,
    seeds=(_SPEC, _SPEC + b"\ncongo=t61rcWkgMzE", b"cc" + _SPEC[2:] + b"-what", b"ff" + _SPEC[2:], _SPEC.replace(b"b7ad6b7169203331", b"0" * 16)),
    tokens=(b"-", b"00-", b"0" * 32, b"\t", b"\n", b"-01", b"F", b"\xff"),
    longest=512,
)
REQUEST_ID = Target(
    "request_id",
    parse_request_id,
    seeds=(b"abc", b"a" * 128, b"a" * 129, b"\x7f", b"a b"),
    tokens=(b"\r\n", b"\n", b"\0", b"\xe2\x80\xa8", b"\xc2\xa0", b'"'),
    longest=300,
)
PATH = Target(
    "path",
    parse_target,
    seeds=(b"/v2/models/m/infer", b"/v2/models/m/versions/3/infer", b"/v1/models/m:predict", b"/v1/models/m/versions/3:predict", b"/v1/models/a.b/labels/stable:predict"),
    tokens=(b"/v1/models/", b"/v2/models/", b"/versions/", b"/labels/", b"/infer", b":predict", b"..", b"/", b":", b"\n", b"%2e", b"\xc3\xa9"),
    longest=512,
)
ORIGIN = Target(
    "origin",
    parse_origin,
    seeds=(b"https://shop.example\nshop.example", b"http://[::1]:8000\n[::1]:8000", b"null\nx", b"http://a.example:80\na.example", b"http://a@b\nb"),
    tokens=(b"http://", b"https://", b":80", b":443", b"@", b"[", b"]", b"\n", b"null", b"/", b"#", b"?", b"\t", b".evil.example", b"\xe2\x84\x80"),
    longest=512,
)

TARGETS = (CREDENTIAL, KEY, TRACEPARENT, REQUEST_ID, PATH, ORIGIN)
