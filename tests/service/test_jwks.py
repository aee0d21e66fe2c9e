from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import ConfigError
from service.guard.credentials.jwks import ALGORITHMS, LARGEST, Algorithm, read_keys
from tests.service.issuer import ASYMMETRIC, SECRET, jwk, pem, private_pem


def keys_of(directory: Path, content: object, algorithm: Algorithm | None = None) -> list[tuple[str, str | None]]:
    file = directory / "keys.json"
    file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return [(key.algorithm, key.kid) for key in read_keys(file, algorithm)]


def why(directory: Path, content: object, algorithm: Algorithm | None = None) -> str:
    with pytest.raises(ConfigError) as raised:
        keys_of(directory, content, algorithm)
    told = str(raised.value)
    assert told.startswith("[auth] jwt_keys: keys.json: ")
    assert str(directory) not in told
    return told


def test_a_jwks_has_keys_each_with_its_algorithm_and_kid(tmp_path: Path) -> None:
    held = {"keys": [jwk(algorithm, kid=algorithm.lower(), use="sig", key_ops=["verify"]) for algorithm in ALGORITHMS]}
    assert keys_of(tmp_path, held) == [(algorithm, algorithm.lower()) for algorithm in ALGORITHMS]


def test_an_algorithm_may_be_said_for_the_keys_that_name_none(tmp_path: Path) -> None:
    nameless = {name: value for name, value in jwk("RS256", kid="a").items() if name != "alg"}
    assert keys_of(tmp_path, {"keys": [nameless, jwk("ES256", kid="b")]}, "RS256") == [("RS256", "a"), ("ES256", "b")]
    assert "it has no alg" in why(tmp_path, {"keys": [nameless]})


def test_keys_that_are_for_encryption_are_passed_over(tmp_path: Path) -> None:
    encrypting = jwk("RS256") | {"use": "enc", "alg": "RSA-OAEP"}
    assert keys_of(tmp_path, {"keys": [encrypting, jwk("ES256")]}) == [("ES256", None)]
    assert "no key to verify with" in why(tmp_path, {"keys": [encrypting]})


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_a_private_key_is_refused(tmp_path: Path, algorithm: Algorithm) -> None:
    assert "private members" in why(tmp_path, {"keys": [jwk(algorithm, whole=True)]})
    assert "private key" in why(tmp_path, private_pem(algorithm), algorithm)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "is not JSON"),
        (b'{"keys": [], "keys": []}', "is not JSON"),
        (b'{"a":' * 100_000, "is not JSON"),
        ({}, "it is no JWKS"),
        ({"keys": {}}, "it is no JWKS"),
        ({"keys": ["a"]}, "it is no JWKS"),
        (jwk("HS256"), "it is no JWKS"),
        ({"keys": []}, "no key to verify with"),
        ({"keys": [jwk("HS256", kid="a"), jwk("HS256", 1)]}, "without a kid"),
        ({"keys": [jwk("HS256", kid="a"), jwk("HS256", 1, kid="a")]}, "the same kid"),
        ({"keys": [jwk("HS256", kid=1)]}, "its kid is no text"),
        ({"keys": [jwk("HS256", kid="a"), jwk("HS256") | {"alg": "PS256", "kid": "b"}]}, "keys[1]: its alg is none of"),
        ({"keys": [jwk("HS256") | {"alg": "none"}]}, "its alg is none of"),
        ({"keys": [jwk("HS256") | {"alg": ["HS256"]}]}, "its alg is none of"),
        ({"keys": [jwk("HS256") | {"alg": "RS256"}]}, "RS256 needs kty 'RSA'"),
        ({"keys": [jwk("HS256", key_ops=["sign"])]}, "not for signatures"),
        ({"keys": [jwk("HS256", use="other")]}, "not for signatures"),
        ({"keys": [{"kty": "oct", "alg": "HS256"}]}, 'without a member "k"'),
        ({"keys": [{"kty": "oct", "alg": "HS256", "k": "a b!"}]}, "not base64url"),
        ({"keys": [{"kty": "RSA", "alg": "RS256", "n": "AQAB"}]}, "make no key"),
        ({"keys": [{"kty": "RSA", "alg": "RS256", "n": 1, "e": 1}]}, "make no key"),
        ({"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", "x": "AA", "y": "AA"}]}, "make no key"),
        ({"keys": [{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": "AA"}]}, "make no key"),
        ({"keys": [{"kty": "OKP", "crv": "Ed448", "alg": "EdDSA", "x": "AA"}]}, "crv 'Ed25519'"),
    ],
)
def test_a_jwks_that_is_wrong_is_refused_with_a_reason(tmp_path: Path, content: object, reason: str) -> None:
    assert reason in why(tmp_path, content)


@pytest.mark.parametrize(
    ("algorithm", "given_for", "reason"),
    [("RS256", "ES256", "a key on the curve P-256"), ("ES256", "EdDSA", "an Ed25519 key"), ("EdDSA", "RS256", "an RSA key")],
)
def test_a_pem_key_is_for_its_algorithm_alone(tmp_path: Path, algorithm: Algorithm, given_for: Algorithm, reason: str) -> None:
    assert reason in why(tmp_path, pem(algorithm), given_for)
    assert "say by jwt_algorithm" in why(tmp_path, pem(algorithm))


@pytest.mark.parametrize("other", [ec.generate_private_key(ec.SECP384R1()), ed448.Ed448PrivateKey.generate()])
def test_other_curves_are_refused(tmp_path: Path, other: Any) -> None:
    made = other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for algorithm in ("ES256", "EdDSA"):
        assert "the file has another" in why(tmp_path, made, algorithm)


def test_a_certificate_or_broken_pem_is_refused_with_what_to_do(tmp_path: Path) -> None:
    assert "openssl x509" in why(tmp_path, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "RS256")
    assert "openssl pkey" in why(tmp_path, pem("RS256")[:100] + b"\n-----END PUBLIC KEY-----\n", "RS256")


def test_a_secret_is_a_files_bytes_without_the_newline_that_editors_add(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    for content, secret in ((SECRET + b"\n", SECRET), (SECRET + b"\r\n", SECRET), (b"\xff" * 32 + b"\n", b"\xff" * 32 + b"\n")):
        file.write_bytes(content)
        (key,) = read_keys(file, "HS256")
        assert key.key == secret


def test_a_secret_is_taken_for_one_only_where_that_is_said(tmp_path: Path) -> None:
    assert 'say so by jwt_algorithm = "HS256"' in why(tmp_path, SECRET)
    assert "RS256 needs a public key" in why(tmp_path, SECRET, "RS256")


def test_a_public_key_of_another_form_is_no_secret(tmp_path: Path) -> None:
    der = base64.b64decode(b"".join(pem("RS256").split(b"\n")[1:-2]))
    for public in (der, b"ssh-rsa " + base64.b64encode(b"x" * 64)):
        assert "is no secret" in why(tmp_path, public, "HS256")


def test_a_file_that_cannot_be_read_or_is_too_large_is_refused_by_its_name(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(ConfigError, match=f"jwt_keys: {path.name} cannot be read: ") as raised:
            read_keys(path, "HS256")
        assert str(tmp_path.parent) not in str(raised.value)
    (tmp_path / "large").write_bytes(b"x" * (LARGEST + 1))
    with pytest.raises(ConfigError, match="is larger than"):
        read_keys(tmp_path / "large", "HS256")


def test_what_is_secret_does_not_show_when_it_is_printed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    (key,) = read_keys(tmp_path / "secret", "HS256")
    assert SECRET.decode() not in repr(key)


_MEMBERS: Any = st.dictionaries(
    st.sampled_from(["kty", "alg", "use", "key_ops", "kid", "k", "n", "e", "crv", "x", "y", "d", "oth"]),
    st.sampled_from(
        ["RSA", "EC", "OKP", "oct", *ALGORITHMS, "P-256", "Ed25519", "AQAB", "sig", "", None, 1, [], {}, "A" * 43, "A" * 342]
    ),
)


@given(st.lists(_MEMBERS, max_size=3))
@settings(max_examples=200)
def test_any_jwks_is_taken_or_refused(tmp_path_factory: pytest.TempPathFactory, entries: list[dict[str, Any]]) -> None:
    file = tmp_path_factory.getbasetemp() / "any.json"
    file.write_text(json.dumps({"keys": entries}))
    try:
        found = read_keys(file, None)
    except ConfigError:
        return
    assert found
