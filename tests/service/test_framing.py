from __future__ import annotations

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from werkzeug.routing import Map

from service.errors import BadRequest, HeadersTooLarge, ServiceError
from service.failures import failure
from service.guard.input.framing import Framing
from service.guard.input.request_head import authority, is_host
from tests.e2e.smuggling import REFUSED, TAKEN, Case

MOST_BYTES, MOST_LINES = 16 * 1024, 100
SHORT = [case for case in REFUSED if len(case.data) < 2000 and not case.name.startswith("WebSocket")]


def judged(*parts: bytes, most_bytes: int = MOST_BYTES, most_lines: int = MOST_LINES) -> tuple[bytes, ServiceError | None]:
    """What of the parts passes, and what ends it."""
    framing = Framing(most_bytes, most_lines)
    passed = b""
    for part in parts:
        may, error = framing.judge(part)
        passed += may
        if error is not None:
            return passed, error
    return passed, None


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    ends = sorted(cut % (len(data) + 1) for cut in cuts)
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


def request(*lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join(["POST /x HTTP/1.1", "Host: x", *lines, "", ""]).encode() + body


@given(st.sampled_from(SHORT), st.lists(st.integers(0, 5000), max_size=6))
def test_how_bytes_fall_into_reads_changes_no_refusal(case: Case, cuts: list[int]) -> None:
    _, error = judged(*split(case.data, cuts))
    assert error is not None
    assert failure(error).status == case.statuses[0]


@given(st.sampled_from(TAKEN), st.lists(st.integers(0, 5000), max_size=6))
def test_how_bytes_fall_into_reads_changes_nothing_that_passes(case: Case, cuts: list[int]) -> None:
    passed, error = judged(*split(case.data, cuts))
    assert error is None
    # An upgrade is taken out of a head that comes in one read alone; llhttp ends its connection behind any other.
    assert passed == judged(case.data)[0] or b"Upgrade" in case.data


@pytest.mark.parametrize("case", SHORT, ids=lambda case: case.name)
def test_what_came_before_a_refused_request_passes_whole(case: Case) -> None:
    before = request("Content-Length: 3", body=b"abc")
    passed, error = judged(before + case.data)
    assert passed.startswith(before)
    assert error is not None


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=3))
def test_whatever_comes_passes_or_is_refused(data: bytes, cuts: list[int]) -> None:
    passed, error = judged(*split(data, cuts))
    assert len(passed) <= len(data)
    assert error is None or failure(error).status in (400, 431, 501)


NAMES = st.sampled_from(["Content-Length", "Transfer-Encoding", "Host", "X", "Connection", "content-length", " X", "X ", "Upgrade"])
VALUES = st.sampled_from(["", "0", "3", "+3", "3, 3", "chunked", "identity", "x", "close", "a b", "\t3", "websocket", "\x0b"])
HEADS = st.lists(st.tuples(NAMES, VALUES), max_size=5).map(
    lambda headers: request(*(f"{name}: {value}" for name, value in headers)).decode("utf-8").encode("latin-1")
)


@given(HEADS, st.sampled_from([b"", b"abc", b"3\r\nabc\r\n0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"]))
def test_h11_reads_what_passes_as_requests_that_end_where_the_framing_says(head: bytes, body: bytes) -> None:
    framing = Framing(MOST_BYTES, MOST_LINES)
    passed, error = framing.judge(head + body)
    if error is not None or b"pgrade" in head or b"close" in head:
        return
    server = h11.Connection(h11.SERVER)
    server.receive_data(passed)
    while True:
        event = server.next_event()  # raises for what h11 refuses
        if type(event) is h11.EndOfMessage:
            server.send(h11.Response(status_code=204, headers=[]))
            server.send(h11.EndOfMessage())
            server.start_next_cycle()
        elif event is h11.NEED_DATA:
            break
    assert framing.between == (server.their_state is h11.IDLE and not server.trailing_data[0])


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("over", [0, 1])
def test_a_head_may_have_its_limit_of_bytes_and_not_one_more(over: int, size: int) -> None:
    head = request("X: ")
    data = request("X: " + "y" * (2048 - len(head) + over))
    _, error = judged(*(data[at : at + size] for at in range(0, len(data), size)), most_bytes=2048)
    assert isinstance(error, HeadersTooLarge) == bool(over)
    assert error is None or error.limit == "header_bytes"


@pytest.mark.parametrize("size", [1, 10_000])
@pytest.mark.parametrize("over", [0, 1])
def test_a_head_may_have_its_limit_of_lines_and_not_one_more(over: int, size: int) -> None:
    data = request(*["X: y"] * (9 + over))
    _, error = judged(*(data[at : at + size] for at in range(0, len(data), size)), most_lines=10)
    assert isinstance(error, HeadersTooLarge) == bool(over)
    assert error is None or error.limit == "header_count"


def test_an_endless_head_is_refused_before_more_than_the_limit_is_kept() -> None:
    framing = Framing(2048, MOST_LINES)
    for _ in range(2048):
        passed, error = framing.judge(b"G")
        assert (passed, error) == (b"G", None)
    assert isinstance(framing.judge(b"G")[1], HeadersTooLarge)


def test_what_is_no_request_line_is_refused_before_the_head_ends() -> None:
    for data in (b"\x16\x03\x01", b"GET /\r\n", b"GET / HTTP/1.1\n", b"GET / HTTP/1.1\r\nX : y\r\n"):
        assert isinstance(judged(data)[1], BadRequest)


def test_between_is_only_where_no_byte_of_a_request_waits() -> None:
    framing = Framing(MOST_BYTES, MOST_LINES)
    data = request("Transfer-Encoding: chunked", body=b"3\r\nabc\r\n0\r\nX: y\r\n\r\n")
    for at in range(len(data) - 1):
        framing.judge(data[at : at + 1])
        assert not framing.between
    framing.judge(data[-1:])
    assert framing.between


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_neither_a_chunks_extension_nor_a_trailer_passes(size: int) -> None:
    coding, body = "Transfer-Encoding: chunked", b"3; a=b\r\nabc\r\n2\r\nde\r\n0;c\r\nConnection: close\r\nX: y\r\n\r\n"
    data = request(coding, body=body) + request()
    passed, error = judged(*(data[at : at + size] for at in range(0, len(data), size)))
    assert (passed, error) == (request(coding, body=b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n") + request(), None)


def test_a_websockets_frames_pass_unread() -> None:
    handshake = b"GET /x HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
    handshake += b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    assert judged(handshake, b"\x81\x00\r\n\r\n") == (handshake + b"\x81\x00\r\n\r\n", None)


def test_the_authority_of_an_absolute_target_is_what_stands_before_its_path() -> None:
    assert authority(b"http://x:80/a?b=http://c/d") == b"http://x:80"
    assert authority(b"/a") == b""


@given(st.text("aw0-._:[]%", max_size=140))
@example("w" * 64)
@example("a..b")
def test_a_host_that_is_taken_is_one_that_werkzeug_takes(host: str) -> None:
    if is_host(host.encode()):
        Map().bind(host)  # which raises where nobody handles it
