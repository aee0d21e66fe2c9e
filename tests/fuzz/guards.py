"""Tokens, the keys that verify them, and addresses that proxies tell of.

An input of ``token`` is a header and a payload on a line each, which are signed by the key of the file, so that what a signed token
may say is read too; with ``raw`` for the first line the rest is the token itself.
"""

from __future__ import annotations

import hmac
import json
import tempfile
from base64 import urlsafe_b64encode
from functools import cache
from hashlib import sha256
from ipaddress import ip_interface
from pathlib import Path
from typing import Any, Final

from service.errors import ConfigError, Unauthorized
from service.guard.address import UNKNOWN, Trusted, caller, parsed, shown
from service.guard.jwks import VerifyingKey, read_keys
from service.guard.principal import Principal
from service.guard.tokens import Tokens
from service.sections import Auth
from tests.fuzz.heads import NOW, headers_of
from tests.fuzz.target import Broken, Target

SECRET: Final = b"a secret of the tests that is long enough"
ISSUER, AUDIENCE = "https://issuer.example", "tureen"

_FOLDER = tempfile.TemporaryDirectory(prefix="tureen-fuzz-")


@cache
def _tokens() -> Tokens:
    file = Path(_FOLDER.name) / "secret"
    file.write_bytes(SECRET)
    return Tokens.open(Auth(jwt_keys=file, jwt_algorithm="HS256", jwt_issuer=ISSUER, jwt_audience=AUDIENCE, jwt_leeway_s=0.0))


def _base64(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def parse_token(data: bytes) -> Principal:
    """A token. Whoever is believed was named by our issuer, for us, for a time that is not over, in a token that we can verify."""
    first, _, second = data.partition(b"\n")
    if first == b"raw":
        principal = _tokens().read(second, NOW)
        raise Broken(f"a token that nobody signed is {principal.name}'s")
    signed = _base64(first) + b"." + _base64(second)
    principal = _tokens().read(signed + b"." + _base64(hmac.digest(SECRET, signed, sha256)), NOW)
    header, claims = json.loads(first), json.loads(second)
    audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    if header["alg"] != "HS256" or "crit" in header or claims["iss"] != ISSUER or AUDIENCE not in audiences:
        raise Broken(f"believed: {header} {claims}")
    if not claims["exp"] > NOW or principal.expires != claims["exp"] or principal.name != f"jwt:{claims['sub']}":
        raise Broken(f"believed as {principal}: {claims}")
    return principal


def parse_keys(data: bytes) -> tuple[VerifyingKey, ...]:
    """A file of keys, for each algorithm that it could be said to be for."""
    file = Path(_FOLDER.name) / "keys"
    file.write_bytes(data)
    refused: ConfigError | None = None
    found: tuple[VerifyingKey, ...] = ()
    for algorithm in (None, "HS256", "RS256", "ES256", "EdDSA"):
        try:
            found = read_keys(file, algorithm)  # type: ignore[arg-type]  # each is one
        except ConfigError as error:
            refused = error
            continue
        if not found or any(isinstance(key.key, bytes) != (key.algorithm == "HS256") for key in found):
            raise Broken(f"{algorithm} gives {found}")
    if not found and refused is not None:
        raise refused
    return found


#: Somebody who is no proxy.
STRANGER: Final = "192.0.2.7"
_TRUSTED: Final = Trusted(("10.0.0.0/8", "2001:db8::/32", "127.0.0.1"))


def parse_forwarded(data: bytes) -> str:
    """The peer's address, and headers, on a line each. The address that counts is one; a peer that is no proxy is believed nothing."""
    first, _, rest = data.partition(b"\n")
    peer = first.decode("latin-1")
    headers = headers_of(rest)
    found = caller(headers, peer, _TRUSTED)
    if caller(headers, STRANGER, _TRUSTED) != STRANGER:
        raise Broken("a stranger's word is taken for a proxy's")
    if found != shown(peer) and ((proxy := parsed(peer)) is None or proxy not in _TRUSTED):
        raise Broken(f"{found!r} counts by the word of {proxy}, which is no proxy")
    if found != UNKNOWN and str(ip_interface(found)).removesuffix("/32") != found:
        raise Broken(f"{found!r} is not how an address is written")
    return found


_HEADER: Final = b'{"alg": "HS256", "typ": "JWT"}'


def _claims(**changed: Any) -> bytes:
    told = {"iss": ISSUER, "aud": AUDIENCE, "sub": "a", "exp": NOW + 60, "scope": "infer admin", "models": ["m"]}
    return json.dumps({**told, **changed}).encode()


TOKEN = Target(
    "token",
    parse_token,
    (Unauthorized,),
    seeds=(
        _HEADER + b"\n" + _claims(),
        _HEADER + b"\n" + _claims(aud=[AUDIENCE, "other"], nbf=NOW - 1, iat=NOW - 1, scope=["metrics"]),
        b'{"alg": "none"}\n' + _claims(),
        b'{"alg": "HS256", "crit": ["exp"], "exp": 1}\n' + _claims(),
        b'{"alg": "HS256", "kid": "../../dev/null"}\n' + _claims(exp=NOW - 1),
        b'{"alg": "HS256", "b64": false}\n' + _claims(sub="x" * 129),
        b"raw\n" + b".".join((_base64(b'{"alg": "none"}'), _base64(_claims()), b"")),
        b"raw\n" + b".".join((_base64(_HEADER), _base64(_claims()), b"AAAA")),
    ),
    tokens=(
        *(f'"{name}": '.encode() for name in ("alg", "typ", "kid", "crit", "b64", "jku", "jwk", "x5u", "exp", "nbf", "iat", "iss", "aud", "sub")),
        *(b'"none"', b'"HS256"', b'"RS256"', b'"at+jwt"', b"null", b"true", b"1e400", b"NaN", b"9" * 400, b'"\\ud800"', b'"scope": ', b'"models": '),
        *(b"raw\n", b".", b"eyJhbGciOiJub25lIn0", b"[" * 30, b"{", b"}", b",", f'"{ISSUER}"'.encode(), f'"{AUDIENCE}"'.encode()),
    ),
    longest=12_000,
)
_EC: Final = (
    b'{"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "a", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", '
    b'"y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}'  # RFC 7515, A.3
)
_OKP: Final = b'{"kty": "OKP", "crv": "Ed25519", "kid": "b", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}'  # RFC 8037, A.2
KEYS = Target(
    "jwks",
    parse_keys,
    (ConfigError,),
    seeds=(
        b'{"keys": [' + _EC + b"]}",
        b'{"keys": [' + _EC + b", " + _OKP.replace(b'"kid"', b'"alg": "EdDSA", "kid"') + b"]}",
        b'{"keys": [' + _OKP + b"]}",
        b'{"keys": [{"kty": "oct", "k": "' + _base64(SECRET) + b'", "alg": "HS256"}]}',
        b'{"keys": [{"kty": "RSA", "n": "' + _base64(b"\xc1" * 256) + b'", "e": "AQAB", "use": "sig", "key_ops": ["verify"]}]}',
        SECRET,
        b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n",
    ),
    tokens=(
        *(f'"{name}"'.encode() for name in ("keys", "kty", "crv", "alg", "kid", "use", "key_ops", "x", "y", "n", "e", "k", "d", "p", "oth")),
        *(b'"RSA"', b'"EC"', b'"OKP"', b'"oct"', b'"P-256"', b'"Ed25519"', b'"HS256"', b'"RS256"', b'"enc"', b"-----BEGIN ", b"PRIVATE KEY-----"),
        *(b"null", b"[]", b"{}", b'"AQAB"', b'"AA"', b'""', b"\xff"),
    ),
    http=False,
    floor=8 * 1024**2,
)
FORWARDED = Target(
    "forwarded_for",
    parse_forwarded,
    seeds=(
        b"10.0.0.1\nx-forwarded-for: 203.0.113.7, 10.0.0.2",
        b"127.0.0.1\nx-forwarded-for: 2001:db8::1\nx-forwarded-for: 198.51.100.1:8080",
        b"2001:db8::5\nx-forwarded-for: [2a02:1:2:3::4]:443, ::ffff:10.1.2.3",
        b"192.0.2.1\nx-forwarded-for: 10.0.0.1",
        b"::1\n",
        b"\nx-forwarded-for: unknown",
    ),
    tokens=(b"x-forwarded-for: ", b"forwarded: for=", b"10.0.0.1", b", ", b"::ffff:", b"%eth0", b"[", b"]", b":80", b"unknown", b"\n", b"_hidden", b"\xd9\xa0"),
    longest=2048,
)

TARGETS = (TOKEN, KEYS, FORWARDED)
