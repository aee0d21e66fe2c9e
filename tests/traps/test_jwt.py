"""What a token may try: one rule for each trick, on what reads tokens in front of every route."""

from __future__ import annotations

import base64
import json
import logging
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from service.errors import ConfigError, Unauthorized
from service.guard.credentials.jwks import Algorithm
from service.guard.credentials.tokens import Tokens
from service.sections import Auth
from tests.service.issuer import ASYMMETRIC, NOW, SECRET, b64, claims, forged, jwk, pem, private, reader, signed

HS = {"alg": "HS256", "typ": "JWT"}


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    """Tokens signed with the secret are believed."""
    made = reader(tmp_path, SECRET, "HS256")
    assert made.read(signed(), NOW).name == "jwt:shop"
    return made


def refused(tokens: Tokens, token: bytes, now: float = NOW) -> str:
    """Why, for the log; the caller is told the same each time."""
    with pytest.raises(Unauthorized) as raised:
        tokens.read(token, now)
    assert str(raised.value) == str(Unauthorized())
    with pytest.raises(Unauthorized):  # what fails is not remembered as what does not
        tokens.read(token, now)
    return raised.value.why


# -- the algorithm is ours, and one a key ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "alg", ["none", "None", "NONE", "nOnE", "", None, "HS384", "HS512", "hs256", "HS256 ", ["HS256"], {"HS256": 1}]
)
def test_none_and_every_other_algorithm_than_the_keys_is_refused_whatever_the_signature(tokens: Tokens, alg: object) -> None:
    token = forged({"alg": alg, "typ": "JWT"}, claims())
    assert "algorithm" in refused(tokens, token)


@pytest.mark.parametrize("alg", ["none", "HS256"])
def test_a_token_without_a_signature_is_refused(tokens: Tokens, alg: str) -> None:
    body = forged({"alg": alg}, claims()).rpartition(b".")[0]
    for token in (body, body + b".", body + b".AA"):
        refused(tokens, token)


def test_a_header_without_alg_is_refused(tokens: Tokens) -> None:
    refused(tokens, forged({"typ": "JWT"}, claims()))


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_a_public_key_is_no_hmac_secret(tmp_path: Path, algorithm: Algorithm) -> None:
    tokens = reader(tmp_path, pem(algorithm), algorithm)
    public = pem(algorithm)
    for secret in (public, public.rstrip(), public.replace(b"\n", b""), base64.b64decode(b"".join(public.split(b"\n")[1:-2]))):
        assert "algorithm" in refused(tokens, forged(HS, claims(), secret))
        refused(tokens, forged({"alg": algorithm}, claims(), secret))


def test_a_public_key_of_a_jwks_is_no_hmac_secret(tmp_path: Path) -> None:
    tokens = reader(tmp_path, {"keys": [jwk("RS256", kid="a"), jwk("HS256", kid="b")]})
    for secret in (pem("RS256"), json.dumps(jwk("RS256", kid="a")).encode(), jwk("RS256")["n"].encode()):
        refused(tokens, forged(HS | {"kid": "a"}, claims(), secret))
    assert tokens.read(forged(HS | {"kid": "b"}, claims()), NOW)


def test_a_pem_key_is_not_taken_for_a_secret_at_the_start_either(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="everybody may know"):
        reader(tmp_path, pem("RS256"), "HS256")


@pytest.mark.parametrize("algorithm", ["PS256", "RS384", "RS512"])
def test_another_algorithm_of_the_keys_family_is_refused(tmp_path: Path, algorithm: str) -> None:
    tokens = reader(tmp_path, pem("RS256"), "RS256")
    assert tokens.read(signed("RS256"), NOW)
    assert "algorithm" in refused(tokens, jwt.encode(claims(), private("RS256"), algorithm=algorithm).encode())


def test_each_key_of_a_set_has_its_own_algorithm(tmp_path: Path) -> None:
    tokens = reader(tmp_path, {"keys": [jwk(algorithm, kid=algorithm) for algorithm in ASYMMETRIC]})
    for algorithm in ASYMMETRIC:
        assert tokens.read(signed(algorithm, header={"kid": algorithm}), NOW)
        for other in set(ASYMMETRIC) - {algorithm}:
            refused(tokens, signed(algorithm, header={"kid": other}))


# -- nothing that a header says is followed ----------------------------------------------------------------------------------


@pytest.mark.parametrize("crit", [["exp"], ["b64"], [], "exp", None, ["x"]])
def test_crit_is_refused(tokens: Tokens, crit: object) -> None:
    assert "extension" in refused(tokens, forged(HS | {"crit": crit, "exp": NOW}, claims()))


@pytest.mark.parametrize("b64", [False, True])
def test_an_unencoded_payload_is_refused(tokens: Tokens, b64: bool) -> None:
    assert "extension" in refused(tokens, forged(HS | {"b64": b64, "crit": ["b64"]}, claims()))


@pytest.mark.parametrize(
    "kid",
    [
        "../../../../dev/null",
        "/dev/null",
        "/proc/sys/kernel/hostname",
        "file:///etc/passwd",
        "http://127.0.0.1/keys",
        "a' UNION SELECT 'secret",
        "a\x00b",
        "x" * 4000,
    ],
)
def test_a_kid_is_compared_and_never_a_path_or_a_query(tmp_path: Path, kid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = reader(tmp_path, {"keys": [jwk("HS256", kid="a"), jwk("HS256", 1, kid="b")]})
    closed(monkeypatch)
    for secret in (b"", SECRET):
        refused(tokens, forged(HS | {"kid": kid}, claims(), secret))


@pytest.mark.parametrize("kid", [1, ["a"], {"a": 1}, True])
def test_a_kid_that_is_no_text_is_refused(tokens: Tokens, kid: object) -> None:
    assert "kid" in refused(tokens, forged(HS | {"kid": kid}, claims()))


def test_a_key_that_the_token_brings_or_points_to_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = reader(tmp_path, pem("RS256"), "RS256")
    attacker = rsa.generate_private_key(65537, 2048)
    own = jwt.algorithms.RSAAlgorithm.to_jwk(attacker.public_key(), as_dict=True)
    pointers: Mapping[str, object] = {
        "jwk": own,
        "jku": "http://127.0.0.1:9/keys.json",
        "x5u": "http://127.0.0.1:9/cert.pem",
        "x5c": ["MIIB"],
        "x5t": "AAAA",
    }
    closed(monkeypatch)
    for name, value in pointers.items():
        refused(tokens, jwt.encode(claims(), attacker, algorithm="RS256", headers={name: value}).encode())
        assert tokens.read(signed("RS256", header={name: value}), NOW)  # nor is a good token worse for them


def closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file is opened, no host asked."""

    def refuse(*arguments: object, **named: object) -> NoReturn:
        raise AssertionError(f"opened {arguments}")

    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr("io.open", refuse)
    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize("typ", ["dpop+jwt", "logout+jwt", "secevent+jwt", "", 1, None, ["JWT"]])
def test_a_token_for_another_purpose_is_refused(tokens: Tokens, typ: object) -> None:
    assert "type" in refused(tokens, forged({"alg": "HS256", "typ": typ}, claims()))


# -- the claims that make a token ours ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("claim", ["exp", "iss", "aud", "sub"])
def test_a_token_without_one_of_them_is_refused(tokens: Tokens, claim: str) -> None:
    refused(tokens, signed(said=claims(**{claim: None})))


def test_an_expired_token_is_refused_past_the_leeway(tmp_path: Path) -> None:
    tokens = reader(tmp_path, SECRET, "HS256", jwt_leeway_s=10.0)
    token = signed()
    assert tokens.read(token, NOW + 69.9)
    assert "expired" in refused(tokens, token, NOW + 70)


@pytest.mark.parametrize("exp", ["1900000000", True, [NOW], {}, -1, "never", 1e300, int("9" * 400), NOW * 1000])
def test_an_exp_that_is_no_number_of_seconds_is_refused(tokens: Tokens, exp: object) -> None:
    refused(tokens, forged(HS, claims(exp=exp)))


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"NaN", b"Infinity", b"9" * 5000])
def test_an_exp_without_end_is_refused(tokens: Tokens, number: bytes) -> None:
    payload = json.dumps(claims(exp=0)).encode().replace(b'"exp": 0', b'"exp": ' + number)
    refused(tokens, forged(HS, payload))


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_a_token_from_the_future_is_refused_past_the_leeway(tokens: Tokens, claim: str) -> None:
    assert "yet to come" in refused(tokens, signed(said=claims(**{claim: NOW + 11})))
    assert tokens.read(signed(said=claims(**{claim: NOW + 9})), NOW)


@pytest.mark.parametrize("audience", ["other", "", [], ["other"], ["tureen", 1], {"tureen": 1}, "tureen ", "Tureen", 1])
def test_a_token_for_another_audience_is_refused(tokens: Tokens, audience: object) -> None:
    assert "audience" in refused(tokens, forged(HS, claims(aud=audience)))
    assert tokens.read(forged(HS, claims(aud=["other", "tureen"])), NOW)


@pytest.mark.parametrize(
    "issuer", ["https://id.example/", "https://evil.example", "", ["https://id.example"], 1, "https://ID.example"]
)
def test_a_token_of_another_issuer_is_refused(tokens: Tokens, issuer: object) -> None:
    assert "issuer" in refused(tokens, forged(HS, claims(iss=issuer)))


@pytest.mark.parametrize("subject", ["", "a" * 129, "a\nb", "a\x00", "a\u202eb", 1, ["shop"], "\ud800"])
def test_a_subject_that_logs_could_not_show_is_refused(tokens: Tokens, subject: object) -> None:
    assert "sub" in refused(tokens, forged(HS, claims(sub=subject)))


# -- one token has one form --------------------------------------------------------------------------------------------------


def test_garbage_around_or_within_a_token_is_refused(tokens: Tokens) -> None:
    token = signed()
    head, payload, signature = token.split(b".")
    for bad in (
        *(token + tail for tail in (b"\n", b" ", b".", b".a", b"=", b"==", b"\x00", b"!", b"~")),
        *(lead + token for lead in (b"\n", b" ", b".", b"a", b"=", b"Bearer ")),
        head + b"=." + payload + b"." + signature,
        head + b"." + payload + b"=." + signature,
        head + b"." + payload + b"." + signature + b"=",
        head + b"!." + payload + b"." + signature,
        head + b".\n" + payload + b"." + signature,
        head + b".." + signature,
        b".." + signature,
        b"",
        b"..",
        b"a.b.c",
        b"\xff.\xff.\xff",
    ):
        refused(tokens, bad)


def test_a_last_character_that_decodes_to_the_same_bytes_is_refused(tokens: Tokens) -> None:
    # 32 bytes are 42 characters and two thirds: the last one's lower two bits mean nothing to a lenient decoder.
    token = signed()
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet.index(token[-1:])
    others = [token[:-1] + alphabet[last ^ bit : (last ^ bit) + 1] for bit in (1, 2, 3)]
    assert base64.urlsafe_b64decode(others[0].rpartition(b".")[2] + b"=") == base64.urlsafe_b64decode(
        token.rpartition(b".")[2] + b"="
    )
    for other in others:
        refused(tokens, other)


def test_the_other_base64_alphabet_is_refused(tokens: Tokens) -> None:
    for number in range(200):
        token = signed(said=claims(jti=str(number)))
        other = token.replace(b"-", b"+").replace(b"_", b"/")
        if other != token:
            refused(tokens, other)
            return
    raise AssertionError("no token had one of the characters that differ")


def test_a_name_that_stands_twice_is_refused(tokens: Tokens) -> None:
    payload = json.dumps(claims()).encode()
    refused(tokens, forged(HS, payload[:-1] + b', "sub": "admin"}'))
    refused(tokens, forged(b'{"alg": "HS256", "alg": "HS256"}', payload))
    refused(tokens, forged(HS, payload[:-1] + b', "x": {"a": 1, "a": 2}}'))


@pytest.mark.parametrize("content", [b"[" * 5900, b'{"a":' * 1150, b"[]", b'"x"', b"1", b"null", b"", b"\xff\xfe", b"{"])
def test_what_is_nested_deep_or_no_object_is_refused(tokens: Tokens, content: bytes) -> None:
    refused(tokens, forged(HS, content))
    refused(tokens, forged(content, claims()))


def test_a_token_over_8_kib_is_refused_before_it_is_read(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    long = signed(said=claims(padding="x" * 6200))
    assert len(long) > 8192
    monkeypatch.setattr("service.guard.credentials.tokens.json_object", None)
    assert "8 KiB" in refused(tokens, long)


def test_nothing_that_a_token_holds_is_logged_or_told(tokens: Tokens, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    token = forged(HS | {"kid": "k" * 40}, claims(sub="secret\n"), b"wrong")
    why = refused(tokens, token)
    assert "secret" not in why
    assert not caplog.records


# -- keys that are none ------------------------------------------------------------------------------------------------------


def test_a_weak_rsa_key_is_refused_at_the_start(tmp_path: Path) -> None:
    weak = rsa.generate_private_key(65537, 1024)
    own = jwt.algorithms.RSAAlgorithm.to_jwk(weak.public_key(), as_dict=True) | {"alg": "RS256"}
    own.pop("key_ops", None)
    with pytest.raises(ConfigError, match="1024 bits, and RS256 needs at least 2048"):
        reader(tmp_path, {"keys": [own]})


@pytest.mark.parametrize("secret", [b"", b"secret", b"x" * 31, b"x" * 31 + b"\n"])
def test_a_short_secret_is_refused_at_the_start(tmp_path: Path, secret: bytes) -> None:
    with pytest.raises(ConfigError, match="needs at least 32"):
        reader(tmp_path, secret, "HS256")
    with pytest.raises(ConfigError, match="needs at least 32"):
        reader(tmp_path, {"keys": [{"kty": "oct", "alg": "HS256", "k": b64(secret.strip())}]})


def test_without_issuer_or_audience_no_token_is_read(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(SECRET)
    with pytest.raises(ConfigError, match="jwt_issuer") as raised:
        Tokens.open(Auth(jwt_keys=file, jwt_algorithm="HS256"))
    assert [problem.path for problem in raised.value.details] == ["[auth] jwt_issuer", "[auth] jwt_audience"]
