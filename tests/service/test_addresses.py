"""How many connections an address has open."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from service.connections.addresses import Addresses


def test_an_address_has_as_many_as_it_may_and_room_again_once_one_is_gone() -> None:
    addresses = Addresses(2)
    one, other = addresses.enter(("10.0.0.1", 1)), addresses.enter(("10.0.0.1", 2))
    assert one == other == "10.0.0.1"
    assert addresses.enter(("10.0.0.1", 3)) is None
    assert addresses.enter(("10.0.0.2", 3)) == "10.0.0.2"
    addresses.leave("10.0.0.1")
    assert addresses.enter(("10.0.0.1", 4)) == "10.0.0.1"


def test_a_network_of_ipv6_counts_as_one_address_and_an_ipv4_address_in_its_form_as_itself() -> None:
    addresses = Addresses(2)
    assert addresses.enter(("2001:db8::1", 1, 0, 0)) == addresses.enter(("2001:db8::2", 1, 0, 0)) == "2001:db8::/64"
    assert addresses.enter(("2001:db8::3", 1, 0, 0)) is None
    assert addresses.enter(("2001:db8:0:1::3", 1, 0, 0)) is not None
    assert addresses.enter(("::ffff:10.0.0.1", 1, 0, 0)) == "10.0.0.1"


def test_a_trusted_proxy_may_have_more() -> None:
    addresses = Addresses(1, ["10.0.0.0/8"])
    assert [addresses.enter(("10.1.2.3", 1)) for _ in range(3)] == ["10.1.2.3"] * 3
    assert [addresses.enter(("11.1.2.3", 1)) for _ in range(2)] == ["11.1.2.3", None]


@given(st.lists(st.integers(0, 5), max_size=100))
def test_nothing_is_remembered_of_an_address_without_connections(visits: list[int]) -> None:
    addresses = Addresses(1000)
    entered = [addresses.enter((f"10.0.0.{visit}", 1)) for visit in visits]
    assert len(addresses) == len(set(visits))
    for address in entered:
        addresses.leave(str(address))
    assert len(addresses) == 0
