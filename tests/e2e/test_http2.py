"""HTTP/2 as Hypercorn speaks it here, case by case of RFC 9113 and RFC 7541: what is wrong ends a stream or the connection."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.e2e.http2 import Headers, block, connected, exchange, outcome, serving_tls
from tests.e2e.kitchen import affine
from tests.e2e.limited import refusals
from tests.e2e.patience import until
from tests.e2e.served import Server

Case = tuple[str, Sequence[bytes | Frame]]

PATH = "/v1/models/affine:predict"
ROW = [1, 2, 3, 4]
BODY = json.dumps({"instances": [ROW]}).encode()
SMUGGLED = "/smuggled"


@pytest.fixture(scope="module")
def server(kitchen: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving_tls(kitchen, tmp_path_factory.mktemp("tls")) as made:
        yield made


def asked(*more: tuple[str | bytes, str | bytes], method: str = "GET", path: str = SMUGGLED, leave: str = "") -> Headers:
    """A request's headers, without the one called ``leave``."""
    pseudo = [(":method", method), (":path", path), (":scheme", "https"), (":authority", "tureen")]
    return [*(header for header in pseudo if header[0] != leave), *more]


def headers(
    *more: tuple[str | bytes, str | bytes], stream: int = 1, ends: bool = True, leave: str = "", path: str = SMUGGLED
) -> HeadersFrame:
    flags = ["END_HEADERS", *(["END_STREAM"] if ends else [])]
    return HeadersFrame(stream, block(asked(*more, leave=leave, path=path)), flags=flags)


def raw(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame that no library makes."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def hpacked(payload: bytes) -> bytes:
    return raw(1, 0x5, 1, payload)


def setting(number: int, value: int) -> bytes:
    return raw(4, 0, 0, struct.pack(">HL", number, value))


GOOD = block(asked())

#: What ends the connection (RFC 9113, 5.4.1), by section.
CONNECTION: list[Case] = [
    ("4.2 DATA over the maximum frame size", [headers(ends=False), raw(0, 0, 1, bytes(16_385))]),
    ("4.2 HEADERS over the maximum frame size", [raw(1, 0x5, 1, GOOD + bytes(16_385))]),
    ("4.3 a header block that cannot be decompressed", [hpacked(b"\xff\xff\xff\xff\xff\xff\xff")]),
    ("4.3 PRIORITY within a header block", [HeadersFrame(1, GOOD, flags=["END_STREAM"]), PriorityFrame(1)]),
    ("4.3 HEADERS of another stream within a header block", [HeadersFrame(1, GOOD, flags=["END_STREAM"]), headers(stream=3)]),
    ("5.1 idle: DATA", [DataFrame(1, b"x")]),
    ("5.1 idle: RST_STREAM", [RstStreamFrame(1)]),
    ("5.1 idle: WINDOW_UPDATE", [WindowUpdateFrame(1, 100)]),
    ("5.1 idle: CONTINUATION", [ContinuationFrame(1, GOOD, flags=["END_HEADERS"])]),
    ("5.1 half-closed: CONTINUATION", [headers(), ContinuationFrame(1, GOOD, flags=["END_HEADERS"])]),
    ("5.1.1 an even stream", [headers(stream=2)]),
    ("5.1.1 a stream below the last", [headers(stream=5), headers(stream=3)]),
    ("5.1.2 more streams than may be", [headers(stream=2 * at + 1, ends=False) for at in range(101)]),
    ("5.5 an unknown frame within a header block", [HeadersFrame(1, GOOD, flags=["END_STREAM"]), raw(0xFA, 0, 1, b"x")]),
    ("6.1 DATA on stream 0", [raw(0, 1, 0, b"x")]),
    ("6.1 DATA with more padding than content", [headers(ends=False), raw(0, 0x9, 1, b"\xffx")]),
    ("6.2 HEADERS on stream 0", [raw(1, 0x5, 0, GOOD)]),
    ("6.2 HEADERS with more padding than content", [raw(1, 0xD, 1, b"\xff" + GOOD)]),
    ("6.3 PRIORITY on stream 0", [raw(2, 0, 0, bytes(5))]),
    ("6.4 RST_STREAM on stream 0", [raw(3, 0, 0, bytes(4))]),
    ("6.4 RST_STREAM of another length", [headers(ends=False), raw(3, 0, 1, bytes(3))]),
    ("6.5 SETTINGS that acknowledge, with content", [raw(4, 1, 0, bytes(6))]),
    ("6.5 SETTINGS on a stream", [raw(4, 0, 1, bytes(6))]),
    ("6.5 SETTINGS of another length", [raw(4, 0, 0, bytes(3))]),
    ("6.5.2 ENABLE_PUSH of 2", [setting(2, 2)]),
    ("6.5.2 INITIAL_WINDOW_SIZE over 2**31 - 1", [setting(4, 2**31)]),
    ("6.5.2 MAX_FRAME_SIZE below 16,384", [setting(5, 16_383)]),
    ("6.5.2 MAX_FRAME_SIZE over 2**24 - 1", [setting(5, 2**24)]),
    ("6.7 PING on a stream", [raw(6, 0, 1, bytes(8))]),
    ("6.7 PING of another length", [raw(6, 0, 0, bytes(6))]),
    ("6.8 GOAWAY on a stream", [raw(7, 0, 1, bytes(8))]),
    ("6.9 WINDOW_UPDATE by 0", [raw(8, 0, 0, bytes(4))]),
    ("6.9 WINDOW_UPDATE of another length", [raw(8, 0, 0, bytes(3))]),
    ("6.9.1 a window over 2**31 - 1", [WindowUpdateFrame(0, 2**31 - 1), WindowUpdateFrame(0, 2**31 - 1)]),
    (
        "6.9.2 a setting that brings a window over 2**31 - 1",
        [headers(ends=False), WindowUpdateFrame(1, 2**31 - 65_536), setting(4, 2**31 - 1)],
    ),
    ("6.10 CONTINUATION behind END_HEADERS", [headers(ends=False), ContinuationFrame(1, GOOD, flags=["END_HEADERS"])]),
    ("6.10 CONTINUATION on stream 0", [HeadersFrame(1, GOOD, flags=["END_STREAM"]), raw(9, 4, 0, GOOD)]),
    ("6.10 CONTINUATION without end", [HeadersFrame(1, GOOD), *[ContinuationFrame(1, b"") for _ in range(100)]]),
    ("6.10 DATA between HEADERS and CONTINUATION", [HeadersFrame(1, GOOD), DataFrame(1, b"x"), ContinuationFrame(1, b"")]),
    ("8.4 PUSH_PROMISE of a client", [headers(ends=False), raw(5, 4, 1, (2).to_bytes(4, "big") + GOOD)]),
    ("RFC 7541 2.3.3 index 0", [hpacked(b"\x80")]),
    ("RFC 7541 2.3.3 an index beyond the table", [hpacked(b"\xff\x80\x01")]),
    ("RFC 7541 4.2 a table larger than may be", [hpacked(b"\x3f\xe1\xff\x03" + GOOD)]),
    ("RFC 7541 4.2 a table's size at the block's end", [hpacked(GOOD + b"\x20")]),
    ("RFC 7541 5.2 Huffman code with EOS", [hpacked(GOOD + b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff")]),
    ("RFC 7541 5.2 Huffman code with a wrong padding", [hpacked(GOOD + b"\x00\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x90")]),
    ("10.5.1 a list that is small compressed", [raw(1, 0x5, 1, block([*asked(), ("x", "y" * 4000)]) + b"\xbe" * 20)]),
]

#: What ends the request alone (RFC 9113, 5.4.2 and 8.1.1), or as well the connection.
STREAM: list[Case] = [
    ("5.1 half-closed: DATA", [headers(), DataFrame(1, b"x", flags=["END_STREAM"])]),
    ("5.1 half-closed: HEADERS", [headers(), headers()]),
    ("5.1 closed by the client: DATA", [headers(ends=False), RstStreamFrame(1), DataFrame(1, b"x")]),
    ("5.1 closed by the client: HEADERS", [headers(ends=False), RstStreamFrame(1), headers()]),
    ("5.3.1 a stream that depends on itself", [raw(1, 0x25, 1, (1).to_bytes(4, "big") + b"\x10" + GOOD)]),
    ("6.3 PRIORITY of another length", [headers(ends=False), raw(2, 0, 1, bytes(4))]),
    ("6.9 WINDOW_UPDATE by 0 of a stream", [headers(ends=False), raw(8, 0, 1, bytes(4))]),
    ("6.9.1 a stream's window over 2**31 - 1", [headers(ends=False), *[WindowUpdateFrame(1, 2**31 - 1)] * 2]),
    ("8.1 HEADERS behind HEADERS without END_STREAM", [headers(ends=False), headers(ends=False)]),
    (
        "8.1 a pseudo-header in trailers",
        [headers(ends=False), HeadersFrame(1, block([(":method", "GET")]), flags=["END_HEADERS", "END_STREAM"])],
    ),
    (
        "8.1.1 content-length over the body",
        [headers(("content-length", "9"), ends=False), DataFrame(1, b"x", flags=["END_STREAM"])],
    ),
    (
        "8.1.1 content-length below the body",
        [headers(("content-length", "1"), ends=False), DataFrame(1, b"xyz", flags=["END_STREAM"])],
    ),
    ("8.1.1 content-length twice, equal", [headers(("content-length", "0"), ("content-length", "0"))]),
    ("8.1.1 content-length twice, different", [headers(("content-length", "0"), ("content-length", "1"))]),
    *(
        (f"8.1.1 content-length {value!r}", [headers(("content-length", value))])
        for value in ("+0", "-0", "0x0", "0, 0", "", "0" * 19)
    ),
    ("8.2.1 a name in capitals", [headers(("X-Test", "y"))]),
    *((f"8.2.1 a name with {char!r}", [headers((f"x{char}y", "z"))]) for char in ("\0", "\r", "\n", " ", ":", "\x7f", "(")),
    *((f"8.2.1 a value with {char!r}", [headers(("x", f"y{char}z"))]) for char in ("\0", "\r", "\n", "\r\nHost: z\r\n", "\x0b")),
    ("8.2.1 a name that is empty", [headers(("", "y"))]),
    *(
        (f"8.2.2 {name}", [headers((name, value))])
        for name, value in (
            ("connection", "keep-alive"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("keep-alive", "1"),
            ("proxy-connection", "close"),
            ("te", "gzip"),
        )
    ),
    ("8.3 a pseudo-header behind a header", [headers(("x", "y"), (":authority", "tureen"), leave=":authority")]),
    ("8.3 a pseudo-header that there is not", [headers((":test", "y"))]),
    ("8.3 a response's pseudo-header", [headers((":status", "200"))]),
    *((f"8.3.1 no {name}", [headers(leave=name)]) for name in (":method", ":path", ":scheme", ":authority")),
    *((f"8.3.1 {name} twice", [headers((name, "x"))]) for name in (":method", ":path", ":scheme", ":authority")),
    *((f"8.3.1 :path {path!r}", [headers(path=path)]) for path in ("", "smuggled", "*", "http://x/", "/a b", "/a\r\nb", "/a#b")),
    *(
        (f"8.3.1 :method {method!r}", [headers((":method", method), leave=":method")])
        for method in ("", "GE T", "GET\r\nX: y", "get", "GET / HTTP/1.1")
    ),
    ("8.3.1 :scheme of another protocol", [headers((":scheme", "ftp"), leave=":scheme")]),
    *(
        (f"8.3.1 :authority {value!r}", [headers((":authority", value), leave=":authority")])
        for value in ("a b", "a/b", "a\r\nb", "user@a", "")
    ),
    ("8.3.1 Host of another authority", [headers(("host", "other"))]),
    ("8.3.1 Host twice", [headers(("host", "tureen"), ("host", "tureen"))]),
    ("8.5 CONNECT", [HeadersFrame(1, block([(":method", "CONNECT"), (":authority", "tureen")]), flags=["END_HEADERS"])]),
    (
        "RFC 8441 a protocol other than WebSockets",
        [headers((":method", "CONNECT"), (":protocol", "x"), leave=":method", ends=False)],
    ),
]

#: What is right, or to be ignored.
TAKEN: list[Case] = [
    ("4.1 an unknown frame", [raw(0xFA, 0xFF, 0, b"x"), raw(0xFA, 0xFF, 1, b"x")]),
    ("4.1 unknown flags", [raw(6, 0x16, 0, bytes(8))]),
    ("5.1 PRIORITY of an idle stream", [PriorityFrame(1, depends_on=3)]),
    ("5.1 closed: PRIORITY", [headers(), PriorityFrame(1)]),
    ("6.5.3 an unknown setting", [setting(0xFA, 1)]),
    ("6.5.3 two settings of one kind", [setting(4, 100) + setting(4, 1)]),
    ("6.7 PING that acknowledges none", [PingFrame(0, b"xxxxxxxx", flags=["ACK"])]),
    ("6.10 CONTINUATION", [HeadersFrame(1, GOOD[:3], flags=["END_STREAM"]), ContinuationFrame(1, GOOD[3:], flags=["END_HEADERS"])]),
    ("6.2 padding and a priority", [raw(1, 0x2D, 1, b"\1" + (3).to_bytes(4, "big") + b"\x10" + GOOD + b"\0")]),
    ("8.2.2 te of trailers", [headers(("te", "trailers"))]),
    ("8.3.1 Host of the same authority", [headers(("host", "tureen"))]),
]


@pytest.mark.parametrize(("name", "frames"), CONNECTION, ids=[name for name, _ in CONNECTION])
def test_a_connection_error_ends_the_connection(server: Server, name: str, frames: Sequence[bytes | Frame]) -> None:
    found = outcome(server, *frames)
    assert not found.lives
    assert found.goaway not in (None, ErrorCodes.NO_ERROR)


@pytest.mark.parametrize(("name", "frames"), STREAM, ids=[name for name, _ in STREAM])
def test_a_malformed_request_ends_its_stream_or_the_connection(server: Server, name: str, frames: Sequence[bytes | Frame]) -> None:
    assert outcome(server, *frames).refused


@pytest.mark.parametrize(("name", "frames"), TAKEN, ids=[name for name, _ in TAKEN])
def test_what_is_right_is_taken(server: Server, name: str, frames: Sequence[bytes | Frame]) -> None:
    assert not outcome(server, *frames).refused


@pytest.mark.parametrize("preface", [b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"])
def test_a_wrong_preface_ends_the_connection(server: Server, preface: bytes) -> None:
    assert not outcome(server, preface=preface).lives


def test_a_goaway_ends_the_connection(server: Server) -> None:
    assert not outcome(server, GoAwayFrame(0)).lives


@pytest.mark.parametrize("lane", ["express", "quart"])
def test_requests_in_one_connection_are_answered_each(server: Server, kitchen: Path, tmp_path: Path, lane: str) -> None:
    if lane == "quart":
        with serving_tls(kitchen, tmp_path, lane) as other:
            assert_each_is_answered(other)
    else:
        assert_each_is_answered(server)


def assert_each_is_answered(server: Server) -> None:
    rows = [ROW, [5, 6, 7, 8], [9, 10, 11, 12]]
    bodies = [json.dumps({"instances": [row]}).encode() for row in rows]
    answers = exchange(server, *((asked(method="POST", path=PATH), body) for body in bodies))
    expected = [{"predictions": affine(np.array([row])).tolist()} for row in rows]
    assert [(status, json.loads(body)) for status, body in answers] == [(200, answer) for answer in expected]


def test_a_header_that_says_two_things_is_told_so(server: Server) -> None:
    two = asked(("x-priority", "high"), ("x-priority", "low"), method="POST", path=PATH)
    same = asked(("x-priority", "high"), ("x-priority", "high"), method="POST", path=PATH)
    answers = exchange(server, (two, BODY), (same, BODY))
    assert [status for status, _ in answers] == [400, 200]
    assert json.loads(answers[0][1])["error"] == "the request has more than one X-Priority, and they differ; send one of them"


def test_more_headers_than_may_be_are_told_so_and_their_neighbours_answered(server: Server) -> None:
    before = count_secure(server, "header_count")
    many = asked(*[("x", "y")] * 101, method="POST", path=PATH)
    good = asked(*[("x", "y")] * 100, method="POST", path=PATH)
    answers = exchange(server, (many, BODY), (good, BODY), (many, None))
    assert [status for status, _ in answers] == [431, 200, 431]
    assert json.loads(answers[0][1])["code"] == "headers_too_large"
    assert count_secure(server, "header_count") == before + 2


def test_longer_headers_than_may_be_are_told_so(server: Server) -> None:
    before = count_secure(server, "header_bytes")
    answers = exchange(server, (asked(("x", "y" * 16_384)), b""), (asked(path="/v2"), b""))
    assert [status for status, _ in answers] == [431, 200]
    assert count_secure(server, "header_bytes") == before + 1


def count_secure(server: Server, limit: str) -> float:
    """How often a limit has refused something, asked over HTTP/2."""
    ((_, text),) = exchange(server, (asked(path="/metrics"), b""))
    return refusals(text, limit)


def test_streams_that_are_opened_and_reset_without_end_end_the_connection(server: Server) -> None:
    frames: list[bytes | Frame] = []
    for stream in range(1, 2001, 2):
        frames += [headers(stream=stream, path="/v2"), RstStreamFrame(stream, ErrorCodes.CANCEL)]
    found = outcome(server, *frames)
    assert not found.lives
    assert found.goaway == ErrorCodes.ENHANCE_YOUR_CALM


def test_http_1_1_is_spoken_over_tls_to_whom_offers_no_other(server: Server) -> None:
    with connected(server, "http/1.1") as connection:
        connection.sendall(b"GET /v2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_without_tls_there_is_no_http_2(hypercorn_server: Server) -> None:
    assert hypercorn_server.request("PRI", "*").status == 400


def test_a_request_that_says_its_length_twice_is_not_answered(server: Server) -> None:
    refused = exchange(server, (asked(("content-length", "0"), ("content-length", "0")), b""))
    assert refused == [(0, b"")]


def test_settings_and_pings_in_numbers_harm_nobody(server: Server) -> None:
    outcome(server, *[SettingsFrame(0)] * 2000, *[PingFrame(0, bytes(8))] * 2000)
    until(lambda: exchange(server, (asked(method="POST", path=PATH), BODY))[0][0] == 200, "others are answered")
