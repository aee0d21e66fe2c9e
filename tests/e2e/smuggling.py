"""Requests that servers in a row may read in two ways, each with the one meaning that Tureen gives it.

Of a refused one nothing is answered but the refusal: no case may make a second request of what it carries.
"""

from __future__ import annotations

from dataclasses import dataclass

#: What smuggled requests ask for; nobody else asks for it.
SMUGGLED = "/smuggled"
_SECOND = f"GET {SMUGGLED} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
_BODY = b'{"instances": [[1, 2, 3, 4]]}'
PATH = "/v1/models/affine:predict"


@dataclass(frozen=True, slots=True)
class Case:
    """``statuses``: those of all answers, after which the connection is closed where ``closed`` says so."""

    name: str
    data: bytes
    statuses: tuple[int, ...]
    closed: bool = True


def head(*lines: str, first: str = f"POST {PATH} HTTP/1.1", host: str | None = "tureen") -> bytes:
    """A request's head of those lines."""
    hosts = [] if host is None else [f"Host: {host}"]
    return "\r\n".join([first, *hosts, *lines, "", ""]).encode("latin-1")


def _refused(name: str, data: bytes, status: int = 400) -> Case:
    return Case(name, data + _SECOND, (status,))


def _chunks(name: str, body: bytes, status: int = 400) -> Case:
    return _refused(name, head("Transfer-Encoding: chunked") + body, status)


_SIZE = f"Content-Length: {len(_BODY)}"
_CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(_BODY), _BODY)
_UPGRADE = ("Connection: Upgrade", "Upgrade: websocket")
_KEY, _VERSION = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version: 13"
_RAW = f"POST {PATH} HTTP/1.1\r\nHost: tureen\r\n"

LENGTHS = [
    _refused("CL.TE", head("Content-Length: 6", "Transfer-Encoding: chunked") + b"0\r\n\r\nG"),
    _refused("TE.CL", head("Transfer-Encoding: chunked", "Content-Length: 4") + b"1e\r\n"),
    _refused("CL.TE, TE in other case", head("Content-Length: 6", "tRANSFER-eNCODING: chunked") + b"0\r\n\r\nG"),
    *(
        _refused(f"Content-Length {value!r}", head(f"Content-Length: {value}") + _BODY)
        for value in (
            "+29",
            "-1",
            "29 29",
            "29, 29",
            "29,30",
            "0x1d",
            "1d",
            "29;",
            "29.0",
            "2_9",
            "9" * 19,
            "1" + "0" * 400,
            "",
            '"29"',
        )
    ),
    _refused("Content-Length with a tab inside", head("Content-Length: 2\t9") + _BODY),
    _refused("Content-Length twice, equal", head(_SIZE, _SIZE) + _BODY),
    _refused("Content-Length twice, different", head("Content-Length: 0", _SIZE) + _BODY),
    _refused("Content-Length with a space before the colon", head("Content-Length : 29") + _BODY),
    _refused("Content-Length with a space before it", head("X: y", " Content-Length: 29") + _BODY),
    _refused("Content-Length behind a bare CR", head(f"X: y\r{_SIZE}") + _BODY),
    _refused("Content-Length behind a NUL", head("X: \0", _SIZE) + _BODY),
    _refused("Content-Length without a colon", head("Content-Length 29") + _BODY),
]

CODINGS = [
    *(
        _refused(f"Transfer-Encoding {value!r}", head(f"Transfer-Encoding: {value}") + _CHUNKED)
        for value in (
            "xchunked",
            "chunked\t",
            "\tchunked",
            "chunkedx",
            "chunked, identity",
            "chunked, chunked",
            "identity",
            "chunked;q=1",
            '"chunked"',
            "x\tchunked",
            ",chunked",
            "chunked,",
            "",
            "\x0bchunked",
            "chunked\0",
        )
    ),
    _refused("Transfer-Encoding 'gzip, chunked'", head("Transfer-Encoding: gzip, chunked") + _CHUNKED, 501),
    _refused("Transfer-Encoding twice", head("Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + _CHUNKED),
    _refused("Transfer-Encoding twice, one unknown", head("Transfer-Encoding: chunked", "Transfer-encoding: x") + _CHUNKED),
    _refused("Transfer-Encoding with a space before the colon", head("Transfer-Encoding : chunked") + _CHUNKED),
    _refused("Transfer-Encoding on a folded line", head("Transfer-Encoding:", " chunked") + _CHUNKED),
    _refused("Transfer-Encoding behind a vertical tab", head("\x0bTransfer-Encoding: chunked") + _CHUNKED),
    _refused("Transfer-Encoding behind a bare LF", head("X: y\nTransfer-Encoding: chunked") + _CHUNKED),
    _refused("Transfer-Encoding of HTTP/1.0", head("Transfer-Encoding: chunked", first=f"POST {PATH} HTTP/1.0") + _CHUNKED),
]

CHUNKS = [
    *(
        _chunks(f"chunk size {size!r}", size + b"\r\n" + _BODY + b"\r\n0\r\n\r\n")
        for size in (
            b"0x1d",
            b"+1d",
            b"-1d",
            b"1d ",
            b" 1d",
            b"1d\t",
            b"",
            b"g",
            b"1_d",
            b"f" * 16,
            b"1" + b"0" * 15 + b"1d",
            b"1d\0",
        )
    ),
    _chunks("chunk longer than its size", b"1\r\n" + _BODY + b"\r\n0\r\n\r\n"),
    _chunks("chunk without CRLF", b"1d\r\n" + _BODY + b"0\r\n\r\n"),
    _chunks("chunk with a bare LF behind its size", b"1d\n" + _BODY + b"\r\n0\r\n\r\n"),
    _chunks("chunk with a bare LF behind it", b"1d\r\n" + _BODY + b"\n0\r\n\r\n"),
    _chunks("chunk with a bare CR behind it", b"1d\r\n" + _BODY + b"\r0\r\n\r\n"),
    _chunks("chunk extension with a bare LF", b"1d;a=\nb\r\n" + _BODY + b"\r\n0\r\n\r\n"),
    _chunks("chunk extension with a bare CR", b"1d;a=\rb\r\n" + _BODY + b"\r\n0\r\n\r\n"),
    _chunks("chunk extension without a semicolon", b"1d a=b\r\n" + _BODY + b"\r\n0\r\n\r\n"),
    _chunks("chunk extension of 20 kB", b"1d;" + b"a" * 20_000 + b"\r\n" + _BODY + b"\r\n0\r\n\r\n", 431),
    _chunks("chunk extensions of 20 kB together", (b"1;" + b"a" * 1_000 + b"\r\n \r\n") * 20 + b"0\r\n\r\n", 431),
    _chunks("trailers of 20 kB", _CHUNKED[:-2] + b"X: " + b"a" * 20_000 + b"\r\n\r\n", 431),
    _chunks("200 trailers", _CHUNKED[:-2] + b"X: y\r\n" * 200 + b"\r\n", 431),
    _chunks("trailer with a space before the colon", _CHUNKED[:-2] + b"X : y\r\n\r\n"),
    _chunks("trailer that is folded", _CHUNKED[:-2] + b"X: y\r\n z\r\n\r\n"),
    _chunks("trailer that says a length", _CHUNKED[:-2] + b"Content-Length: 9\r\n\r\n"),
    _chunks("trailer that says a coding", _CHUNKED[:-2] + b"Transfer-Encoding: chunked\r\n\r\n"),
    _chunks("trailer with a bare LF", _CHUNKED[:-2] + b"X: y\n\r\n"),
]

LINES = [
    _refused("bare LF line ends", head().replace(b"\r\n", b"\n")),
    _refused("bare LF at the head's end", head()[:-2] + b"\n"),
    _refused("CR alone as line ends", head().replace(b"\r\n", b"\r") + b"\r\n\r\n"),
    _refused("folded header", head("X: y", " z")),
    _refused("header without a name", head(": y")),
    *(_refused(f"name with {char!r}", head(f"X{char}Y: z")) for char in ("\0", "\r", " ", "\t", "(", "\x7f", "\xe9", '"')),
    *(_refused(f"value with {char!r}", head(f"X: y{char}z")) for char in ("\0", "\r", "\n", "\x01", "\x0b", "\x7f")),
    _refused("two empty lines before the request", b"\r\n\r\n" + head()),
    _refused("a bare LF before the request", b"\n" + head()),
    _refused("a space before the request", b" " + head()),
]

TARGETS = [
    _refused("no Host", head(host=None)),
    _refused("Host twice, equal", head("Host: tureen")),
    _refused("Host twice, different", head("Host: x")),
    *(_refused(f"Host {value!r}", head(host=value)) for value in ("a b", "a/b", "a@b", "a,\tb", "a\\b", "<a>", "\xe9")),
    _refused("absolute target of another host", head(first=f"POST http://other{PATH} HTTP/1.1")),
    _refused("absolute target with a user", head(first=f"POST http://a@tureen{PATH} HTTP/1.1")),
    _refused("absolute target of another scheme", head(first=f"POST ftp://tureen{PATH} HTTP/1.1")),
    _refused("authority target", head(first="CONNECT tureen:80 HTTP/1.1")),
    _refused("asterisk target", head(first="OPTIONS * HTTP/1.1")),
    *(
        _refused(f"request line {line!r}", head(first=line))
        for line in (
            "GET /v2",
            "GET  /v2 HTTP/1.1",
            "GET /v2  HTTP/1.1",
            "GET\t/v2 HTTP/1.1",
            "GET /v2 HTTP/1.1 ",
            "GET /v2 x HTTP/1.1",
            "GET /v2\0 HTTP/1.1",
            "GET /v\xe9 HTTP/1.1",
            "GET /v2#x HTTP/1.1",
            "GET v2 HTTP/1.1",
            "get /v2 HTTP/1.1",
            "G@T /v2 HTTP/1.1",
            "GET /v2 HTTP/0.9",
            "GET /v2 HTTP/1.2",
            "GET /v2 HTTP/11",
            "GET /v2 HTTP/2.0",
            "GET /v2 http/1.1",
            "GET /v2 XTTP/1.1",
            " GET /v2 HTTP/1.1",
        )
    ),
    _refused("HTTP/0.9", b"GET /v2\r\n"),
    _refused("HTTP/2 with prior knowledge", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"),
    _refused(
        "WebSocket with a body", head("Connection: Upgrade", "Upgrade: websocket", "Content-Length: 4", first="GET /v2 HTTP/1.1")
    ),
    *(
        _refused(f"WebSocket of {first!r}", head("Connection: Upgrade", "Upgrade: websocket", first=first))
        for first in ("POST /v2 HTTP/1.1", "GET /v2 HTTP/1.0")
    ),
    _refused(
        "WebSocket of two upgrades", head("Connection: Upgrade", "Upgrade: websocket", "Upgrade: x", first="GET /v2 HTTP/1.1")
    ),
    _refused(
        "WebSocket of two connections", head("Connection: Upgrade", "Connection: x", "Upgrade: websocket", first="GET /v2 HTTP/1.1")
    ),
    _refused("WebSocket with a request behind it", head(*_UPGRADE, _KEY, _VERSION, first="GET /v2 HTTP/1.1")),
    _refused("WebSocket without a key", head(*_UPGRADE, _VERSION, first="GET /v2 HTTP/1.1")),
    _refused("WebSocket of two keys", head(*_UPGRADE, _KEY, _KEY, _VERSION, first="GET /v2 HTTP/1.1")),
    _refused("WebSocket of another version", head(*_UPGRADE, _KEY, "Sec-WebSocket-Version: 8", first="GET /v2 HTTP/1.1")),
]

SIZES = [
    _refused("request line of 20 kB", head(first=f"GET /{'x' * 20_000} HTTP/1.1"), 431),
    _refused("header of 20 kB", head("X: " + "y" * 20_000), 431),
    _refused("header of 100 kB", head("X: " + "y" * 100_000), 431),
    _refused("header name of 20 kB", head("X" * 20_000 + ": y"), 431),
    _refused("101 headers", head(*["X: y"] * 100), 431),
    _refused("10,000 headers", head(*["X: y"] * 10_000), 431),
    _refused("WebSocket with a header of 20 kB", head("Connection: Upgrade", "Upgrade: websocket", "X: " + "y" * 20_000), 431),
]

TWOFOLD = [
    _refused(f"{name} twice, different", head(_SIZE, f"{name}: {one}", "X: y", f"{name.lower()}: {other}") + _BODY)
    for name, one, other in (
        ("X-Priority", "high", "low"),
        ("X-Request-Timeout-Ms", "90000", "90001"),
        ("Inference-Header-Content-Length", "29", "28"),
        ("Content-Type", "application/json", "image/png"),
        ("Content-Type", "multipart/form-data; boundary=a", "multipart/form-data; boundary=A"),
        ("Content-Type", "application/json", ""),
    )
]

REFUSED = [*LENGTHS, *CODINGS, *CHUNKS, *LINES, *TARGETS, *SIZES, *TWOFOLD]

OK = head(_SIZE) + _BODY
#: What has one meaning, and gets it: the answers to the request and to what follows it.
TAKEN = [
    Case("two requests", OK + OK, (200, 200), False),
    Case("an empty line before a request", b"\r\n" + OK + b"\r\n" + OK, (200, 200), False),
    Case("Content-Length with zeros before it", head("Content-Length: 00029") + _BODY + OK, (200, 200), False),
    Case("Content-Length with spaces and tabs around it", head("Content-Length: \t 29 \t") + _BODY + OK, (200, 200), False),
    Case(
        "Content-Length on GET",
        head("Content-Length: 29", first="GET /v2 HTTP/1.1") + _SECOND[:29].ljust(29) + OK,
        (200, 200),
        False,
    ),
    Case("chunked", head("Transfer-Encoding: chunked") + _CHUNKED + OK, (200, 200), False),
    Case("chunked in capitals, spaces around it", head("Transfer-Encoding:  CHUNKED ") + _CHUNKED + OK, (200, 200), False),
    Case(
        "chunk extensions",
        head("Transfer-Encoding: chunked") + b'1d;a="b"\r\n' + _CHUNKED[4:-5] + b"0;c\r\n\r\n" + OK,
        (200, 200),
        False,
    ),
    *(
        Case(
            f"chunk extension {text!r}",
            head("Transfer-Encoding: chunked") + b"1d" + text + b"\r\n" + _CHUNKED[4:] + OK,
            (200, 200),
            False,
        )
        for text in (b"; a=b", b";a = b", b";\ta", b';a="b;c"')
    ),
    *(
        Case(f"trailer {text!r}", head("Transfer-Encoding: chunked") + _CHUNKED[:-2] + text + b"\r\n\r\n" + OK, (200, 200), False)
        for text in (b"X: y", b"Connection: close", b"Proxy-Connection: close", b"Upgrade: x", b"Connection: upgrade\r\nUpgrade: x")
    ),
    Case(
        "absolute target of the same host", head(_SIZE, first=f"POST http://TUREEN{PATH} HTTP/1.1") + _BODY + OK, (200, 200), False
    ),
    Case("HTTP/1.0", head(_SIZE, first=f"POST {PATH} HTTP/1.0", host=None) + _BODY + _SECOND, (200,)),
    Case(
        "h2c is not followed",
        head("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAAA", _SIZE) + _BODY + OK,
        (200, 200),
        False,
    ),
    Case("nothing is read behind Connection: close", head(_SIZE, "Connection: close") + _BODY + _SECOND + b"\0", (200,)),
    *(
        Case(f"nothing is read behind {text!r}", head(_SIZE, text) + _BODY + _SECOND + b"\0", (200,))
        for text in ("Proxy-Connection: close", "proxy-connection: x, Close")
    ),
    Case("Proxy-Connection: keep-alive", head(_SIZE, "Proxy-Connection: keep-alive") + _BODY + OK, (200, 200), False),
    *(
        Case(f"{name} twice, equal", head(_SIZE, f"{name}: {value}", f"{name}:{value} ") + _BODY + OK, (200, 200), False)
        for name, value in (("X-Priority", "high"), ("X-Request-Timeout-Ms", "90000"), ("Content-Type", "application/json"))
    ),
    Case("100 headers", head(*["X: y"] * 98, _SIZE) + _BODY, (200,), False),
]
