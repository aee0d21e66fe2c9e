from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import Unauthorized
from service.guard.credentials.key import LENGTH, Key, digest, mint
from service.guard.credentials.keyring import Keyring
from service.guard.principal import Budget, Scope

NOW = 1_800_000_000.0


def made(name: str = "ci", expires: float | None = None, revoked: float | None = None) -> tuple[Key, bytes]:
    number, shown = mint()
    key = Key(
        number,
        name,
        digest(shown.encode()),
        frozenset({Scope.INFER}),
        frozenset({"m"}),
        Budget(requests_per_s=5),
        NOW,
        expires,
        revoked,
    )
    return key, shown.encode()


def why(keyring: Keyring, presented: bytes, now: float = NOW) -> str:
    with pytest.raises(Unauthorized) as raised:
        keyring.find(presented, now)
    assert presented.decode("latin-1") not in f"{raised.value} {raised.value.why}" or not presented
    return raised.value.why


def test_a_key_has_the_rights_that_are_kept_of_it() -> None:
    key, shown = made(expires=NOW + 60)
    found = Keyring([made()[0], key]).find(shown, NOW)
    assert found.name == f"key:{key.id}"
    assert (found.scopes, found.models, found.budget, found.expires) == (key.scopes, key.models, key.budget, NOW + 60)


def test_a_key_without_an_end_never_ends() -> None:
    key, shown = made()
    assert Keyring([key]).find(shown, NOW + 1e9).expires == math.inf


def test_a_key_ends_in_the_second_in_which_it_expires() -> None:
    key, shown = made(expires=NOW + 60)
    keyring = Keyring([key])
    assert keyring.find(shown, NOW + 59.999)
    assert why(keyring, shown, NOW + 60) == f"key {key.id} has expired"


def test_a_revoked_key_is_refused_from_the_moment_it_is_known() -> None:
    key, shown = made()
    keyring = Keyring([key])
    keyring.replace([replace(key, revoked=NOW)])
    assert why(keyring, shown) == f"key {key.id} is revoked"
    assert why(keyring, shown, 0.0) == f"key {key.id} is revoked"


def test_a_key_that_is_gone_is_unknown() -> None:
    key, shown = made()
    keyring = Keyring([key])
    keyring.replace([])
    assert "unknown" in why(keyring, shown)


def test_a_wrong_secret_of_a_known_key_reads_as_an_unknown_key() -> None:
    key, shown = made()
    unknown = why(Keyring(), shown)
    assert why(Keyring([key]), shown[:-1] + (b"a" if shown[-1:] != b"a" else b"b")) == unknown


def test_the_caller_is_told_the_same_whatever_was_wrong() -> None:
    key, shown = made(revoked=NOW)
    told = set()
    for presented in (shown, b"", b"tur_", mint()[1].encode(), shown + b"a", b"\xff" * 8192):
        with pytest.raises(Unauthorized) as raised:
            Keyring([key]).find(presented, NOW)
        told.add(str(raised.value))
    assert len(told) == 1


@given(st.binary(max_size=LENGTH + 2))
def test_nothing_but_a_key_is_believed(presented: bytes) -> None:
    with pytest.raises(Unauthorized):
        Keyring([made()[0]]).find(presented, NOW)


@given(st.integers(0, LENGTH - 1), st.integers(1, 255))
def test_a_key_with_one_byte_changed_is_refused(place: int, change: int) -> None:
    key, shown = made()
    other = bytearray(shown)
    other[place] ^= change
    with pytest.raises(Unauthorized):
        Keyring([key]).find(bytes(other), NOW)


def test_the_generation_rises_when_a_key_changes_and_not_otherwise() -> None:
    key, _ = made()
    keyring = Keyring([key])
    before = keyring.generation
    keyring.replace([key])
    assert keyring.generation == before
    keyring.replace([replace(key, expires=NOW)])
    assert keyring.generation == before + 1


def test_nothing_kept_of_a_key_shows_when_it_is_printed() -> None:
    key, shown = made()
    assert repr(key.digest) not in repr(key)
    assert shown.decode() not in repr(key)
