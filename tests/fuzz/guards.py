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
from typing import Final

from service.errors import ConfigError, Unauthorized
from service.guard.address import UNKNOWN, Trusted, caller, parsed, shown
from service.guard.credentials.jwks import VerifyingKey, read_keys
from service.guard.credentials.tokens import Tokens
from service.guard.principal import Principal
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
            found = read_keys(file, algorithm)
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
    """The peer's address, and headers, on a line each. A peer that is no proxy is believed nothing."""
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


TOKEN = Target(
    "token",
    parse_token,
    (Unauthorized,),
    longest=12_000,
)

# RFC 8037, A.2
KEYS = Target(
    "jwks",
    parse_keys,
    (ConfigError,),
    http=False,
    floor=8 * 1024**2,
)
FORWARDED = Target(
    "forwarded_for",
    parse_forwarded,
    longest=2048,
)

TARGETS = (TOKEN, KEYS, FORWARDED)
