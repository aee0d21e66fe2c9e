"""Bodies are inflated under a cap whatever was sent, and answers compressed only for who asked."""

import gzip
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import BadRequest, BodyTooLarge, UnsupportedMedia
from service.protocol.coding import THRESHOLD, VARY, code, compress, inflate
from service.protocol.infer import Encoded

LIMIT = 1 << 20
LARGE = b'{"predictions": [0.25]}' * 1000


def raw_deflate(body: bytes) -> bytes:
    return zlib.compress(body, wbits=-15)


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "Deflate": raw_deflate,
    "identity": bytes,
}


@given(body=st.binary(max_size=4096), names=st.lists(st.sampled_from(sorted(ENCODERS)), max_size=2))
def test_what_was_coded_in_order_comes_out_as_it_went_in(body: bytes, names: list[str]) -> None:
    coded = body
    for name in names:
        coded = ENCODERS[name](coded)
    assert inflate(coded, ", ".join(names), LIMIT) == body


@given(bodies=st.lists(st.binary(max_size=300), min_size=1, max_size=8))
def test_the_members_of_a_gzip_body_are_one_body(bodies: list[bytes]) -> None:
    assert inflate(b"".join(gzip.compress(body) for body in bodies), "gzip", LIMIT) == b"".join(bodies)


def test_a_body_longer_than_the_slices_it_is_read_in_comes_out_whole() -> None:
    body = b"".join(i.to_bytes(4, "little") for i in range(200_000))
    assert inflate(gzip.compress(body, 1) * 2, "gzip", 2 * len(body)) == body * 2
    assert inflate(zlib.compress(body, 0), "deflate", len(body)) == body


@pytest.mark.parametrize("encoding", [None, "", "identity", " Identity , "])
def test_a_body_without_a_coding_is_the_body_itself(encoding: str | None) -> None:
    body = b"x" * 10
    assert inflate(body, encoding, 1) is body


@pytest.mark.parametrize("name", ["gzip", "deflate", "Deflate"])
@given(size=st.integers(0, 3000), limit=st.integers(0, 3000))
def test_the_cap_is_exact(name: str, size: int, limit: int) -> None:
    coded = ENCODERS[name](bytes(size))
    if size <= limit:
        assert inflate(coded, name, limit) == bytes(size)
    else:
        with pytest.raises(BodyTooLarge):
            inflate(coded, name, limit)


def test_the_cap_counts_all_members_together() -> None:
    with pytest.raises(BodyTooLarge):
        inflate(gzip.compress(bytes(600)) * 2, "gzip", 1000)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "gzip, gzip"])
def test_a_bomb_is_refused_without_being_inflated(encoding: str) -> None:
    bomb = (ENCODERS.get(encoding) or gzip.compress)(bytes(16 * LIMIT))
    if encoding == "gzip, gzip":
        bomb = gzip.compress(bomb)
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLarge):
            inflate(bomb, encoding, LIMIT)
        assert tracemalloc.get_traced_memory()[1] < 6 * LIMIT
    finally:
        tracemalloc.stop()


def test_a_bomb_of_empty_members_is_refused() -> None:
    with pytest.raises(BadRequest, match="members"):
        inflate(gzip.compress(b"") * 5000, "gzip", LIMIT)


@pytest.mark.parametrize("name", ["gzip", "deflate", "Deflate"])
@given(body=st.binary(max_size=300), data=st.data())
def test_a_body_cut_anywhere_is_refused(name: str, body: bytes, data: st.DataObject) -> None:
    coded = ENCODERS[name](body)
    cut = coded[: data.draw(st.integers(0, len(coded) - 1))]
    with pytest.raises(BadRequest):
        inflate(cut, name, LIMIT)


@pytest.mark.parametrize("name", ["gzip", "deflate", "Deflate"])
@given(garbage=st.binary(min_size=1, max_size=50))
def test_what_follows_the_coded_body_is_refused(name: str, garbage: bytes) -> None:
    with pytest.raises(BadRequest):
        inflate(ENCODERS[name](b"body") + garbage, name, LIMIT)


@given(body=st.binary(max_size=500), name=st.sampled_from(["gzip", "deflate"]))
def test_no_bytes_raise_anything_but_a_refusal(body: bytes, name: str) -> None:
    with suppress(BadRequest, BodyTooLarge):
        inflate(body, name, LIMIT)


def test_a_damaged_checksum_is_refused() -> None:
    coded = bytearray(gzip.compress(b"body"))
    coded[-5] ^= 1
    with pytest.raises(BadRequest):
        inflate(bytes(coded), "gzip", LIMIT)


def test_another_coding_is_refused_with_those_taken() -> None:
    with pytest.raises(UnsupportedMedia, match="'br' is not taken; send gzip, deflate or identity"):
        inflate(b"", "gzip, br", LIMIT)


def test_three_codings_are_refused() -> None:
    with pytest.raises(UnsupportedMedia, match="3 codings"):
        inflate(b"", "gzip, gzip, deflate", LIMIT)


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        (None, None),
        ("", None),
        ("gzip", "gzip"),
        ("GZip", "gzip"),
        ("x-gzip", "gzip"),
        ("deflate", "deflate"),
        ("gzip, deflate, br, zstd", "gzip"),
        ("deflate, gzip", "gzip"),
        ("gzip;q=0.5, deflate;q=0.8", "deflate"),
        ("gzip; Q=0.500 , deflate;q=0.4", "gzip"),
        ("gzip;q=0", None),
        ("gzip;q=0.000, deflate", "deflate"),
        ("*", "gzip"),
        ("*, gzip;q=0", "deflate"),
        ("gzip;q=0.2, *;q=0.9", "deflate"),
        ("*;q=0", None),
        ("br", None),
        ("identity", None),
        ("identity, gzip;q=0.5", None),
        ("identity;q=0.5, gzip", "gzip"),
        ("identity, gzip", "gzip"),
        ("gzip;q=2", None),
        ("gzip;q=-1", None),
        ("gzip;q=0.1234", None),
        ("gzip;q=nan", None),
        ("gzip;q=", None),
        ("gzip;level=1;q=0.3", "gzip"),
        (",;,", None),
        ("gzip" + ", br;q=0.1" * 100, "gzip"),
    ],
)
def test_the_coding_is_the_one_the_caller_prefers(accept: str | None, coding: str | None) -> None:
    assert compress(LARGE, accept)[1] == coding


@given(body=st.binary(max_size=3000), accept=st.sampled_from(["gzip", "deflate", "identity;q=0, *"]))
def test_what_was_compressed_inflates_to_the_answer(body: bytes, accept: str) -> None:
    coded, coding = compress(body, accept, threshold=0)
    assert inflate(coded, coding, LIMIT) == body


@given(accept=st.text(max_size=300))
def test_no_header_of_a_client_breaks_an_answer(accept: str) -> None:
    coded, coding = compress(LARGE, accept)
    assert inflate(coded, coding, LIMIT) == LARGE


def test_an_answer_under_the_threshold_stays_plain_unless_plain_is_refused() -> None:
    small = LARGE[: THRESHOLD - 1]
    assert compress(small, "gzip") == (small, None)
    assert compress(small, "gzip, identity;q=0")[1] == "gzip"
    assert compress(small, "gzip, *;q=0")[1] == "gzip"


def test_an_answer_that_compression_would_lengthen_stays_plain() -> None:
    dense = Random(7).randbytes(THRESHOLD)
    assert compress(dense, "gzip", threshold=0) == (dense, None)


def test_a_compressed_answer_says_so_and_that_it_varies() -> None:
    answer = code(Encoded(LARGE, headers=((b"x-model-version", b"1"),)), "gzip")
    assert answer.headers == ((b"x-model-version", b"1"), (b"content-encoding", b"gzip"), VARY)
    assert gzip.decompress(answer.body) == LARGE


def test_a_large_plain_answer_says_that_it_varies() -> None:
    assert code(Encoded(LARGE), None) == Encoded(LARGE, headers=(VARY,))


def test_a_small_answer_is_left_alone() -> None:
    answer = Encoded(b"{}")
    assert code(answer, "gzip") is answer
    assert code(answer, None) is answer
