"""Which address counts."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.guard.address import MOST_HOPS, UNKNOWN, Trusted, caller

PROXIES = Trusted(["10.0.0.0/8", "2001:db8:1::/48"])
NOBODY = Trusted()
addresses = st.ip_addresses(v=4).map(str)


def forwarded(*lines: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"x"), *((b"x-forwarded-for", line.encode()) for line in lines)]


@given(st.lists(st.text(max_size=40), max_size=4))
def test_without_trusted_proxies_no_header_says_who_calls(lines: list[str]) -> None:
    assert caller(forwarded(*lines), "192.0.2.1", NOBODY) == "192.0.2.1"


@given(st.lists(st.text(max_size=40), max_size=4))
def test_a_stranger_cannot_say_that_he_is_another(lines: list[str]) -> None:
    assert caller(forwarded(*lines), "192.0.2.1", PROXIES) == "192.0.2.1"


@given(invented=st.lists(addresses, max_size=5), own=addresses.filter(lambda one: not one.startswith("10.")))
def test_what_lies_left_of_the_first_stranger_is_not_believed(invented: list[str], own: str) -> None:
    assert caller(forwarded(", ".join([*invented, own])), "10.1.2.3", PROXIES) == own


@pytest.mark.parametrize(
    ("lines", "counts"),
    [
        (["198.51.100.7"], "198.51.100.7"),
        (["198.51.100.7, 10.9.9.9"], "198.51.100.7"),
        (["203.0.113.1", "198.51.100.7"], "198.51.100.7"),
        (["198.51.100.7:4711"], "198.51.100.7"),
        (["[2001:db8:5::7]:4711"], "2001:db8:5::/64"),
        (["::ffff:198.51.100.7"], "198.51.100.7"),
        (["198.51.100.7, 2001:db8:1::5"], "198.51.100.7"),
        (["10.9.9.9"], "10.9.9.9"),
        (["198.51.100.7, unknown"], "10.1.2.3"),
        (["198.51.100.7,"], "10.1.2.3"),
        ([""], "10.1.2.3"),
        ([], "10.1.2.3"),
    ],
)
def test_the_nearest_that_is_no_proxy_counts(lines: list[str], counts: str) -> None:
    assert caller(forwarded(*lines), "10.1.2.3", PROXIES) == counts


@given(st.integers(0, 2**64 - 1))
def test_all_addresses_of_an_ipv6_network_are_one_caller(host: int) -> None:
    address = ipaddress.IPv6Address((0x20010DB8000A000B << 64) | host)
    assert caller([], str(address), NOBODY) == "2001:db8:a:b::/64"


@pytest.mark.parametrize("peer", [None, "", "tureen.sock"])
def test_a_socket_without_an_address_is_one_caller(peer: str | None) -> None:
    assert caller(forwarded("198.51.100.7"), peer, PROXIES) == UNKNOWN


def test_a_chain_is_read_no_further_than_proxies_stand_in_a_row() -> None:
    chain = ["198.51.100.7", *["10.0.0.1"] * 100_000]
    assert caller(forwarded(", ".join(chain)), "10.1.2.3", PROXIES) == "10.0.0.1"
    assert caller(forwarded(", ".join([chain[0], *chain[1:MOST_HOPS]])), "10.1.2.3", PROXIES) == "198.51.100.7"
