from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import Unauthorized
from service.guard.credentials import tokens as module
from service.guard.credentials.jwks import ALGORITHMS, Algorithm
from service.guard.credentials.tokens import Tokens
from service.guard.principal import Scope
from tests.service.issuer import NOW, SECRET, b64, claims, forged, jwk, pem, reader, signed

HS = {"alg": "HS256"}


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return reader(tmp_path, SECRET, "HS256", jwt_leeway_s=10.0)


def rewrite(file: Path, content: bytes | object) -> None:
    """As whoever rotates keys does: another file is put in its place."""
    other = file.with_suffix(".new")
    other.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    os.replace(other, file)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_of_each_algorithm_is_read_by_a_key_of_a_jwks(tmp_path: Path, algorithm: Algorithm) -> None:
    tokens = reader(tmp_path, {"keys": [jwk(algorithm)]})
    assert tokens.read(signed(algorithm), NOW).name == "jwt:shop"


@pytest.mark.parametrize("algorithm", ALGORITHMS[1:])
def test_a_token_of_each_algorithm_is_read_by_a_pem_key(tmp_path: Path, algorithm: Algorithm) -> None:
    assert reader(tmp_path, pem(algorithm), algorithm).read(signed(algorithm), NOW).name == "jwt:shop"


def test_what_a_token_says_makes_the_principal(tokens: Tokens) -> None:
    found = tokens.read(signed(said=claims(sub="shop 7", scope="infer admin openid", models=["m", "n"])), NOW)
    assert found.name == "jwt:shop 7"
    assert found.scopes == {Scope.INFER, Scope.ADMIN}
    assert found.models == frozenset({"m", "n"})
    assert found.expires == NOW + 60 + 10


@pytest.mark.parametrize(
    ("claim", "scopes"),
    [
        ("infer", {Scope.INFER}),
        (["infer", "metrics"], {Scope.INFER, Scope.METRICS}),
        ("INFER infer:all admins", set()),
        ("", set()),
        ([], set()),
        (None, set()),
    ],
)
def test_scopes_come_as_a_text_or_a_list_and_unknown_ones_give_nothing(tokens: Tokens, claim: object, scopes: set[Scope]) -> None:
    assert tokens.read(signed(said=claims(scope=claim)), NOW).scopes == scopes


@pytest.mark.parametrize("claim", [1, True, {"infer": True}, ["infer", 1], [["infer"]]])
def test_scopes_of_another_form_are_refused(tokens: Tokens, claim: object) -> None:
    with pytest.raises(Unauthorized):
        tokens.read(signed(said=claims(scope=claim)), NOW)


def test_a_token_without_models_is_for_all_and_one_with_none_for_none(tokens: Tokens) -> None:
    assert tokens.read(signed(), NOW).models is None
    assert tokens.read(signed(said=claims(models=[])), NOW).models == frozenset()


@pytest.mark.parametrize("claim", ["m", "*", None, 1, {"m": 1}, ["m", 1], [None]])
def test_models_that_are_no_list_of_names_are_refused_and_not_taken_for_all(tokens: Tokens, claim: object) -> None:
    with pytest.raises(Unauthorized):
        tokens.read(forged(HS, claims() | {"models": claim}), NOW)


def test_the_claims_that_hold_scopes_and_models_can_be_named(tmp_path: Path) -> None:
    tokens = reader(tmp_path, SECRET, "HS256", jwt_scopes="permissions", jwt_models="https://shop.example/models")
    found = tokens.read(signed(said=claims(permissions=["metrics"], **{"https://shop.example/models": ["m"]})), NOW)
    assert (found.scopes, found.models) == (frozenset({Scope.METRICS}), frozenset({"m"}))


# -- which key ---------------------------------------------------------------------------------------------------------------


def test_of_several_keys_the_kid_names_one(tmp_path: Path) -> None:
    tokens = reader(tmp_path, {"keys": [jwk("HS256", kid="a"), jwk("HS256", 1, kid="b")]})
    assert tokens.read(signed(number=1, header={"kid": "b"}), NOW)
    for number, header in ((1, {"kid": "a"}), (1, {}), (0, {"kid": "c"}), (0, {"kid": ""})):
        with pytest.raises(Unauthorized):
            tokens.read(signed(number=number, header=header), NOW)


def test_a_key_that_is_alone_needs_no_kid_and_one_that_is_another_is_refused(tmp_path: Path) -> None:
    tokens = reader(tmp_path, {"keys": [jwk("HS256", kid="a")]})
    assert tokens.read(signed(), NOW)
    assert tokens.read(signed(header={"kid": "a"}), NOW)
    with pytest.raises(Unauthorized):
        tokens.read(signed(header={"kid": "b"}), NOW)


def test_a_key_without_a_name_reads_tokens_that_have_a_kid(tokens: Tokens) -> None:
    assert tokens.read(signed(header={"kid": "whatever"}), NOW)


@pytest.mark.parametrize("typ", ["JWT", "jwt", "at+jwt", "application/at+jwt"])
def test_a_token_may_say_that_it_is_one(tokens: Tokens, typ: str) -> None:
    assert tokens.read(signed(header={"typ": typ}), NOW)


# -- what is remembered ------------------------------------------------------------------------------------------------------


def test_a_verified_token_is_not_verified_again_until_it_ends(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    token = signed()
    first = tokens.read(token, NOW)
    monkeypatch.setattr(module, "json_object", None)  # nothing is read from here on
    assert tokens.read(token, NOW + 69) is first
    with pytest.raises(TypeError):
        tokens.read(token, NOW + 70)


def test_what_is_remembered_is_bounded_and_what_was_used_last_stays(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    one, *others = (signed(said=claims(jti=str(number))) for number in range(5))
    kept = tokens.read(one, NOW)
    for other in others:
        tokens.read(other, NOW)
        assert tokens.read(one, NOW) is kept
    assert tokens.remembered == 3


def test_no_refused_token_takes_a_place(tokens: Tokens) -> None:
    for number in range(100):
        with pytest.raises(Unauthorized):
            tokens.read(signed(said=claims(jti=number), number=1), NOW)
    assert tokens.remembered == 0


# -- the file changes --------------------------------------------------------------------------------------------------------


def test_keys_are_replaced_without_a_restart_and_the_old_ones_tokens_are_refused(tmp_path: Path) -> None:
    tokens = reader(tmp_path, {"keys": [jwk("HS256", kid="a")]})
    old, new = signed(header={"kid": "a"}), signed(number=1, header={"kid": "b"})
    assert tokens.read(old, NOW)
    generation = tokens.generation
    rewrite(tmp_path / "keys", {"keys": [jwk("HS256", 1, kid="b")]})
    tokens.refresh()
    assert tokens.read(new, NOW)
    assert tokens.generation > generation
    with pytest.raises(Unauthorized):
        tokens.read(old, NOW)


def test_a_secret_that_kubernetes_renews_is_read_again(tmp_path: Path) -> None:
    # It turns a link to a folder over, and the file's own link stays as it is.
    for folder in ("..1", "..2"):
        (tmp_path / folder).mkdir()
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "keys").symlink_to("..data/keys")
    tokens = reader(tmp_path, {"keys": [jwk("HS256")]})
    (tmp_path / "..2" / "keys").write_text(json.dumps({"keys": [jwk("HS256", 1)]}))
    (tmp_path / "..next").symlink_to("..2")
    os.replace(tmp_path / "..next", tmp_path / "..data")
    tokens.refresh()
    assert tokens.read(signed(number=1), NOW).name == "jwt:shop"


@pytest.mark.parametrize("broken", [b"{", b'{"keys": []}', b"", None])
def test_a_broken_new_file_leaves_the_old_keys_and_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, broken: bytes | None
) -> None:
    tokens = reader(tmp_path, SECRET, "HS256")
    generation = tokens.generation
    if broken is None:
        (tmp_path / "keys").unlink()
    else:
        rewrite(tmp_path / "keys", broken)
    for _ in range(3):
        tokens.refresh()
    assert tokens.read(signed(), NOW)
    assert tokens.generation == generation
    (record,) = caplog.records
    assert str(tmp_path) not in record.getMessage()
    assert SECRET.decode() not in record.getMessage()


def test_a_file_that_is_mended_is_read_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    tokens = reader(tmp_path, SECRET, "HS256")
    (tmp_path / "keys").unlink()
    tokens.refresh()
    rewrite(tmp_path / "keys", SECRET[1:] + SECRET[:1])
    tokens.refresh()
    assert tokens.read(signed(number=1), NOW)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_a_file_that_has_not_changed_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = reader(tmp_path, SECRET, "HS256")
    monkeypatch.setattr(module, "read_keys", None)
    tokens.refresh()
    assert tokens.generation == 1


# -- whatever comes ----------------------------------------------------------------------------------------------------------

_JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_NAMES = st.sampled_from(["iss", "aud", "exp", "nbf", "iat", "sub", "scope", "models", "alg", "kid", "typ", "crit", "b64"])


@pytest.fixture(scope="module")
def module_tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    return reader(tmp_path_factory.mktemp("keys"), SECRET, "HS256")


def taken_or_refused(tokens: Tokens, token: bytes) -> None:
    try:
        found = tokens.read(token, NOW)
    except Unauthorized:
        return
    assert found.name.startswith("jwt:")
    assert found.expires > NOW


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(module_tokens: Tokens, token: bytes) -> None:
    with pytest.raises(Unauthorized):
        module_tokens.read(token, NOW)


@given(st.dictionaries(_NAMES, _JSON), st.dictionaries(_NAMES, _JSON))
def test_any_claims_and_headers_that_are_signed_are_taken_or_refused(
    module_tokens: Tokens, header: dict[str, object], said: dict[str, object]
) -> None:
    taken_or_refused(module_tokens, forged(HS | header, claims() | said))


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_any_bytes_that_are_signed_are_taken_or_refused(module_tokens: Tokens, header: bytes, payload: bytes) -> None:
    taken_or_refused(module_tokens, forged(header or b"{}", payload))
    taken_or_refused(module_tokens, b64(header).encode() + b"." + b64(payload).encode() + b"." + b64(header).encode())


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_token_with_one_byte_changed_is_refused(module_tokens: Tokens, place: int, change: int) -> None:
    token = bytearray(signed())
    token[place % len(token)] ^= change
    with pytest.raises(Unauthorized):
        module_tokens.read(bytes(token), NOW)
