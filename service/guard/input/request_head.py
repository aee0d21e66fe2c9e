"""What the head of an HTTP/1.1 request says of the request's end, where it says that in one way alone.

Stricter than RFC 9112 asks: Content-Length once and in digits alone, Transfer-Encoding once and `chunked` alone, an absolute target
only with the authority that Host names, a WebSocket's handshake by one Upgrade and one Connection.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Final, NamedTuple

from service.errors import BadRequest, HeadersTooLarge, NoHandshake, NotSupported, ServiceError, TwoValues

_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_FIELD: Final = _TOKEN + rb"++:[\t -~\x80-\xff]*+\r\n"
_REQUEST: Final = rb"([A-Z][A-Z_-]*+) ([!\"$-~]++) HTTP/1\.([01])\r\n"
REQUEST_LINE: Final = re.compile(_REQUEST)
FIELD_LINE: Final = re.compile(_FIELD)
_HEAD: Final = re.compile(_REQUEST + rb"(?:" + _FIELD + rb")*+\r\n")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
_HOST: Final = re.compile(rb"[0-9A-Za-z._~!$&'()*+,;=%:\[\]-]*+")
_ABSOLUTE: Final = re.compile(rb"(https?://([^/?@]+))/.*")
_LISTED: Final = re.compile(rb"(?:" + _TOKEN + rb"+[ \t]*,[ \t]*)*chunked")
_UPGRADE: Final = re.compile(rb"(?i)\r\nupgrade:[^\r]*")
_CONNECTION: Final = b"\r\nconnection:"
#: What old clients say to a proxy in its place, which llhttp takes for it.
_PROXY_CONNECTION: Final = b"\r\nproxy-connection:"
_KEY: Final = b"\r\nsec-websocket-key:"
_VERSION: Final = b"\r\nsec-websocket-version:"
#: What has one value. Of two a proxy may judge by the one, and the server take the other.
SINGLE: Final = {
    b"content-type": "Content-Type",
    b"x-priority": "X-Priority",
    b"x-request-timeout-ms": "X-Request-Timeout-Ms",
    b"inference-header-content-length": "Inference-Header-Content-Length",
}
_SINGLE: Final = [(b"\r\n%b:" % name, shown) for name, shown in SINGLE.items()]
_SLASH: Final = ord("/")

NO_HTTP: Final = "what came is not HTTP/1.1; check the request line, the headers and Content-Length"
TWO_LENGTHS: Final = "the request has both Transfer-Encoding and Content-Length; send one of them"
NO_LENGTH: Final = "Content-Length is one number of bytes, in digits alone, and given once"
UNKNOWN_CODING: Final = "the only Transfer-Encoding that is taken is chunked"
NO_HOST: Final = "the request has one Host header, of labels of 1 to 63 characters, and an absolute target names the same host"
NO_UPGRADE: Final = "a WebSocket handshake is a GET of HTTP/1.1 without a body, and nothing is sent before its answer"


class RequestHead(NamedTuple):
    """What follows a head: ``length`` bytes of a body, or chunks where it is None; a WebSocket's frames; nothing more than the body
    where it is the ``last``. ``plain``: what stands for a head that would go over to another protocol, else empty."""

    length: int | None
    last: bool = False
    websocket: bool = False
    plain: bytes = b""


def read_head(head: bytes, most_bytes: int, most_lines: int) -> RequestHead:
    """Reads a whole head, its end included. Raises HeadersTooLarge, BadRequest, and NotSupported for a coding that we have not."""
    if len(head) > most_bytes:
        raise long_head(most_bytes)
    if head.count(b"\n") > most_lines + 2:
        raise many_lines(most_lines)
    request = _HEAD.fullmatch(head)
    if request is None:
        raise BadRequest(NO_HTTP)
    low = head.lower()
    old = request[3] == b"0"
    _check_host(low, request[2], old)
    for name, shown in _SINGLE:
        if low.count(name) > 1 and len(set(_values(head, low, name))) > 1:
            raise TwoValues(shown)
    length = _length(low, old)
    wishes = _wishes(low, _CONNECTION)
    upgrades = low.count(b"\r\nupgrade:")
    if upgrades and b"upgrade" in wishes and b"websocket" in low:
        # Servers look at the last of several, and what is no upgrade to them is not to be taken for one here.
        one = upgrades == 1 and low.count(_CONNECTION) == 1
        if not one or _value(low, b"\r\nupgrade:") == b"websocket":
            if not one or old or length != 0 or request[1] != b"GET":
                raise BadRequest(NO_UPGRADE)
            _check_handshake(low)
            return RequestHead(0, websocket=True)
    # Nothing else is upgraded to, but llhttp would take the body for the other protocol's.
    last = old or b"close" in wishes or b"close" in _wishes(low, _PROXY_CONNECTION)
    return RequestHead(length, last, plain=_UPGRADE.sub(b"", head) if upgrades else b"")


def authority(target: bytes) -> bytes:
    """What stands before the path in an absolute target that passed; empty of any other."""
    absolute = _ABSOLUTE.fullmatch(target)
    return absolute[1] if absolute else b""


def long_head(most: int) -> HeadersTooLarge:
    """The refusal of a request with more bytes of headers than ``most``."""
    told = f"the request's line and headers have more than the limit of {most} bytes; send fewer or shorter ones"
    return HeadersTooLarge(told, limit="header_bytes")


def many_lines(most: int) -> HeadersTooLarge:
    """The refusal of a request with more header lines than ``most``."""
    return HeadersTooLarge(f"the request has more than the limit of {most} header lines; send fewer", limit="header_count")


def _length(low: bytes, old: bool) -> int | None:
    """How many bytes the body has; None where it says so itself, chunk by chunk."""
    lengths, codings = low.count(b"\r\ncontent-length:"), low.count(b"\r\ntransfer-encoding:")
    if codings:
        if lengths:
            raise BadRequest(TWO_LENGTHS)
        coding = _value(low, b"\r\ntransfer-encoding:", b" ")  # llhttp takes a tab for a part of it
        if codings > 1 or old or coding != b"chunked":
            raise _unknown(coding, codings > 1 or old)
        return None
    if not lengths:
        return 0
    length = _value(low, b"\r\ncontent-length:")
    if lengths > 1 or not _LENGTH.fullmatch(length):
        raise BadRequest(NO_LENGTH)
    return int(length)


def _value(low: bytes, name: bytes, space: bytes = b" \t") -> bytes:
    """What the first header of that name says, in lower case."""
    at = low.index(name) + len(name)
    return low[at : low.index(b"\r\n", at)].strip(space)


def _values(head: bytes, low: bytes, name: bytes) -> Iterator[bytes]:
    """What each header of that name says."""
    at = low.find(name)
    while at >= 0:
        end = low.index(b"\r\n", at := at + len(name))
        yield head[at:end].strip(b" \t")
        at = low.find(name, end)


def _wishes(low: bytes, name: bytes) -> Collection[bytes]:
    """What the headers of that name list, in lower case."""
    return [wish.strip(b" \t") for value in _values(low, low, name) for wish in value.split(b",")]


def is_host(value: bytes) -> bool:
    """Whether it may stand in a Host header: a name of labels that DNS could have (RFC 1035, 2.3.4), or an address, or nothing.

    For any other werkzeug raises where no handler of errors is.
    """
    if not _HOST.fullmatch(value):
        return False
    try:
        value.decode("ascii").encode("idna")
    except UnicodeError:
        return False
    return True


def _check_host(low: bytes, target: bytes, old: bool) -> None:
    """Raises BadRequest where the request names no host, two, or none that can be."""
    hosts = low.count(b"\r\nhost:")
    if hosts > 1 or not (hosts or old):
        raise BadRequest(NO_HOST)
    host = _value(low, b"\r\nhost:") if hosts else b""
    if not is_host(host):
        raise BadRequest(NO_HOST)
    if target[0] != _SLASH:
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is None:
            raise BadRequest(NO_HTTP)
        if absolute[2].lower() != host:
            raise BadRequest(NO_HOST)


def _check_handshake(low: bytes) -> None:
    """Raises NoHandshake where it is none that we could answer: of that wsproto would tell in words of its own."""
    if low.count(_KEY) != 1 or low.count(_VERSION) != 1 or not _value(low, _KEY) or _value(low, _VERSION) != b"13":
        raise NoHandshake


def _unknown(coding: bytes, twice: bool) -> ServiceError:
    """A coding that there may be is one that we have not; any other leaves the body's end open."""
    known = not twice and _LISTED.fullmatch(coding) and coding.count(b"chunked") == 1
    return NotSupported(UNKNOWN_CODING) if known else BadRequest(UNKNOWN_CODING)
