from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from service.guard.credentials.key import ID_SLICE, LENGTH, digest, identified, mint, well_formed

KEY = re.compile(r"tur_[a-z2-7]{10}_[A-Za-z0-9]{43}")


def test_a_key_names_its_id_and_has_256_random_bits() -> None:
    number, key = mint()
    assert KEY.fullmatch(key)
    assert key[ID_SLICE] == number
    assert len(key) == LENGTH
    assert 62**43 >= 2**256


def test_no_two_keys_are_alike() -> None:
    made = [mint() for _ in range(1000)]
    assert len({number for number, _ in made}) == len({key for _, key in made}) == 1000


def test_a_key_is_known_by_its_id_with_or_without_the_prefix_and_by_mistake_whole() -> None:
    number, key = mint()
    assert identified(number) == identified(f"tur_{number}") == identified(key) == number


@given(st.from_regex(KEY, fullmatch=True))
def test_every_key_of_the_form_is_well_formed_and_ascii_of_one_length(key: str) -> None:
    assert well_formed(key.encode())
    assert len(key.encode()) == LENGTH


@given(st.binary(max_size=80))
def test_whatever_is_well_formed_is_of_the_form(presented: bytes) -> None:
    assert well_formed(presented) == (presented.isascii() and KEY.fullmatch(presented.decode()) is not None)


@given(st.text(max_size=80))
def test_what_names_no_key_is_none(text: str) -> None:
    found = identified(text)
    assert found is None or found in text


@given(st.from_regex(KEY, fullmatch=True), st.integers(0, LENGTH - 1), st.integers(1, 255))
def test_a_key_with_one_byte_changed_has_another_digest(key: str, place: int, change: int) -> None:
    other = bytearray(key.encode())
    other[place] ^= change
    assert digest(bytes(other)) != digest(key.encode())
