"""Which pages are of another site: origins compared whole, never by a part."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.guard.origin import foreign

SHOP = "https://shop.example"
HOST = "models.example:8000"


def test_who_is_no_browser_sends_no_origin_and_is_not_foreign() -> None:
    assert not foreign([], HOST, False, ())
    assert not foreign([], None, True, (SHOP,))


@pytest.mark.parametrize(
    ("origin", "host", "secure"),
    [
        ("http://models.example:8000", HOST, False),
        ("https://models.example:8000", HOST, True),
        ("https://models.example", "models.example", False),  # a proxy ended the TLS
        ("https://models.example", "models.example:443", True),
        ("http://[::1]:8000", "[::1]:8000", False),
        ("http://127.0.0.1:8000", "127.0.0.1:8000", False),
    ],
)
def test_a_page_of_our_own_is_not_foreign(origin: str, host: str, secure: bool) -> None:
    assert not foreign([origin], host, secure, ())


@pytest.mark.parametrize(
    ("origin", "host", "secure"),
    [
        ("http://models.example", HOST, False),
        ("http://models.example:8001", HOST, False),
        ("https://models.example", "models.example:80", False),
        ("http://models.example", "models.example", True),  # whoever sits on the wire wrote that page
        ("http://evil.example:8000", HOST, False),
        ("http://models.example:8000.evil.example", HOST, False),
        ("http://evil@models.example:8000", HOST, False),
        ("http://models.example:8000/", HOST, False),
        ("http://models.example:x", HOST, False),
        ("http://[::1", "[::1", False),
        ("null", HOST, False),
        ("", HOST, False),
        ("", "", False),
        ("http://", "", False),
        ("file://models.example:8000", HOST, False),
        ("models.example:8000", HOST, False),
        ("http://models.example:8000", None, False),
    ],
)
def test_any_other_page_is(origin: str, host: str | None, secure: bool) -> None:
    assert foreign([origin], host, secure, ())
    assert foreign([origin], host, secure, (SHOP,))


def test_a_page_whose_origin_is_allowed_is_not_foreign() -> None:
    assert not foreign([SHOP], HOST, False, (SHOP,))


def test_two_origins_are_foreign_whatever_they_are() -> None:
    assert foreign([SHOP, SHOP], HOST, False, (SHOP,))
    assert foreign([f"http://{HOST}", SHOP], HOST, False, (SHOP,))


@given(st.text(max_size=3), st.text(min_size=1, max_size=20))
def test_nothing_added_to_an_allowed_origin_is_allowed(before: str, after: str) -> None:
    assert foreign([f"{before}{SHOP}{after}"], HOST, False, (SHOP,))
    assert foreign([f"{before}http://{HOST}{after}"], HOST, False, ())


@given(st.text(), st.text(), st.booleans())
def test_no_text_breaks_the_comparison(origin: str, host: str, secure: bool) -> None:
    assert foreign([origin], host, secure, ()) in (True, False)
