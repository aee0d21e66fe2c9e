from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import Unauthorized
from service.guard.credentials.credential import LONGEST, credential

KEY = b"tur_abcdefghij_" + b"x" * 43


@pytest.mark.parametrize(
    "header",
    [
        (b"authorization", b"Bearer " + KEY),
        (b"authorization", b"bearer " + KEY),
        (b"authorization", b"BEARER   " + KEY),
        (b"x-api-key", KEY),
    ],
)
def test_a_credential_comes_in_one_of_two_headers(header: tuple[bytes, bytes]) -> None:
    assert credential([(b"host", b"x"), header, (b"accept", b"*/*")]) == KEY


def test_without_either_header_there_is_none() -> None:
    assert credential([(b"host", b"x"), (b"proxy-authorization", b"Bearer x"), (b"cookie", b"authorization=x")]) is None


@pytest.mark.parametrize("first", [b"authorization", b"x-api-key"])
@pytest.mark.parametrize("second", [b"authorization", b"x-api-key"])
def test_two_are_refused_even_if_equal(first: bytes, second: bytes) -> None:
    def header(name: bytes) -> tuple[bytes, bytes]:
        return name, KEY if name == b"x-api-key" else b"Bearer " + KEY

    with pytest.raises(Unauthorized):
        credential([header(first), header(second)])


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"Bearer",
        b"Bearer ",
        b"Bearer\t" + KEY,
        b"Basic dTpw",
        b"Digest username=u",
        KEY,
        b"Bearer " + KEY + b", Bearer " + KEY,
        b"Bearer " + KEY + b" " + KEY,
        b'Bearer "' + KEY + b'"',
        b"Bearer " + KEY + b"\x00",
        b"Bearer " + KEY + b"\r\nx: y",
        b"Bearer " + KEY + b"\n",
        b"Bearer =",
        b"Bearer k\xc3\xa9y",
        b"Bearer " + b"a" * (LONGEST + 1),
    ],
)
def test_what_is_malformed_is_refused(value: bytes) -> None:
    with pytest.raises(Unauthorized):
        credential([(b"authorization", value)])


@pytest.mark.parametrize("value", [b"", b"a b", b"a,b", b"Bearer " + KEY, b"a\x00", b"a" * (LONGEST + 1)])
def test_an_x_api_key_has_the_credential_alone(value: bytes) -> None:
    with pytest.raises(Unauthorized):
        credential([(b"x-api-key", value)])


@given(st.lists(st.tuples(st.sampled_from([b"authorization", b"x-api-key", b"host"]), st.binary(max_size=60))))
def test_whatever_comes_the_answer_is_none_a_credential_or_a_refusal(headers: list[tuple[bytes, bytes]]) -> None:
    brought = [value for name, value in headers if name != b"host"]
    try:
        found = credential(headers)
    except Unauthorized:
        return
    assert (found is None) == (not brought)
    assert found is None or brought[0].endswith(found)
