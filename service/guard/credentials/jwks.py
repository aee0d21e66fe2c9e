"""The keys that tokens are verified with, from a file: a JWKS (RFC 7517), a PEM public key, or a secret.

Each key has one algorithm, and it comes from us or from the file, never from a token. What a file may hold is less than the
standards allow: public halves and shared secrets, of the algorithms below, strong enough.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from service.errors import ConfigError
from service.guard.credentials.json_object import json_object

Algorithm = Literal["HS256", "RS256", "ES256", "EdDSA"]
PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

ALGORITHMS: Final[tuple[Algorithm, ...]] = ("HS256", "RS256", "ES256", "EdDSA")
#: No honest file comes near (bytes).
LARGEST: Final = 1024**2
#: As many bytes as SHA-256 gives: RFC 7518, 3.2.
SECRET_BYTES: Final = 32
#: RFC 7518, 3.3.
RSA_BITS: Final = 2048

_FORMS: Final[Mapping[Algorithm, tuple[str, str | None]]] = {
    "HS256": ("oct", None),
    "RS256": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "EdDSA": ("OKP", "Ed25519"),
}
_READERS: Final[Mapping[Algorithm, Callable[[dict[str, Any]], object]]] = {
    "RS256": RSAAlgorithm.from_jwk,
    "ES256": ECAlgorithm.from_jwk,
    "EdDSA": OKPAlgorithm.from_jwk,
}
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth"})
_NAMES: Final = ", ".join(ALGORITHMS)


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """One key with its one algorithm. ``kid``: None where the file has no name for it."""

    algorithm: Algorithm
    key: PublicKey | bytes = field(repr=False)
    kid: str | None = None


def read_keys(file: Path, algorithm: Algorithm | None) -> tuple[VerifyingKey, ...]:
    """The file's keys, at least one. ``algorithm``: of a PEM key or a secret, and of those keys of a JWKS that name none.

    Raises ConfigError, which names the file without its folder, and never says what it holds.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(LARGEST + 1)
    except OSError as error:
        raise ConfigError(f"[auth] jwt_keys: {file.name} cannot be read: {error.strerror}") from None
    if len(content) > LARGEST:
        raise ConfigError(f"[auth] jwt_keys: {file.name} is larger than {LARGEST} bytes; give a JWKS, a PEM public key or a secret")
    try:
        if content.lstrip()[:1] == b"{":
            return _jwks(content, algorithm)
        if b"-----BEGIN" in content:
            return (_pem(content, algorithm),)
        return (_secret(content, algorithm),)
    except _Refused as refused:
        raise ConfigError(f"[auth] jwt_keys: {file.name}: {refused}") from None


class _Refused(Exception):
    """What is wrong with the file, and how to mend it."""


def _secret(content: bytes, algorithm: Algorithm | None) -> VerifyingKey:
    # Editors and `openssl rand -hex` end a text with a newline that is none of the secret; of random bytes it may well be one.
    secret = content.rstrip(b"\r\n") if content.isascii() and content.decode("ascii").strip().isprintable() else content
    if algorithm is None:
        raise _Refused('it is neither a JWKS nor PEM, so it is taken for a secret; say so by jwt_algorithm = "HS256"')
    if algorithm != "HS256":
        raise _Refused(f'it is neither a JWKS nor PEM, and {algorithm} needs a public key; give that, or jwt_algorithm = "HS256"')
    return VerifyingKey("HS256", _strong(secret))


def _strong(secret: bytes) -> bytes:
    if len(secret) < SECRET_BYTES:
        raise _Refused(
            f"the secret has {len(secret)} bytes, and HS256 needs at least {SECRET_BYTES} random ones; "
            "make one: openssl rand -hex 32"
        )
    try:
        return bytes(jwt.get_algorithm_by_name("HS256").prepare_key(secret))
    except jwt.InvalidKeyError:
        raise _Refused(
            "the secret is a public key or certificate, which is no secret; give the algorithm that the key is for"
        ) from None


def _pem(content: bytes, algorithm: Algorithm | None) -> VerifyingKey:
    if b"PRIVATE KEY-----" in content:
        raise _Refused(
            "it holds a private key, which a server that only verifies must not have; "
            "give the public one: openssl pkey -in KEY -pubout"
        )
    if b"BEGIN CERTIFICATE" in content:
        raise _Refused("it holds a certificate; give its public key: openssl x509 -in FILE -noout -pubkey")
    if algorithm is None:
        raise _Refused('it is a PEM key; say by jwt_algorithm = "RS256", "ES256" or "EdDSA" what it is for')
    if algorithm == "HS256":
        raise _Refused(
            "it is a PEM key, which everybody may know, and HS256 takes a secret; give the algorithm that the key is for"
        )
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        raise _Refused("it is no PEM public key that can be read; make it anew: openssl pkey -in KEY -pubout") from None
    return VerifyingKey(algorithm, _fitting(algorithm, key))


def _fitting(algorithm: Algorithm, key: object) -> PublicKey:
    """The key, if it is one for that algorithm and strong enough."""
    match algorithm, key:
        case "RS256", RSAPublicKey():
            if key.key_size < RSA_BITS:
                raise _Refused(f"an RSA key has {key.key_size} bits, and RS256 needs at least {RSA_BITS}; make a larger one")
            return key
        case "ES256", EllipticCurvePublicKey(curve=SECP256R1()):
            return key
        case "EdDSA", Ed25519PublicKey():
            return key
    needs = {"RS256": "an RSA key", "ES256": "a key on the curve P-256", "EdDSA": "an Ed25519 key"}[algorithm]
    raise _Refused(f"{algorithm} needs {needs}, and the file has another; give the algorithm that the key is for")


def _jwks(content: bytes, algorithm: Algorithm | None) -> tuple[VerifyingKey, ...]:
    try:
        held = json_object(content)
    except ValueError:
        raise _Refused('it begins as a JWKS and is not JSON; give {"keys": [...]}, each name in an object once') from None
    entries = held.get("keys")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _Refused('it is no JWKS: it needs a list "keys" of objects; one key alone goes into such a list too')
    # Providers publish what they encrypt with beside what they sign with.
    signing = [(number, entry) for number, entry in enumerate(entries) if entry.get("use") != "enc"]
    if not signing:
        raise _Refused("it has no key to verify with; add one")
    keys = tuple(_named(number, entry, algorithm) for number, entry in signing)
    if len(keys) > 1:
        if any(key.kid is None for key in keys):
            raise _Refused("it has several keys, and one without a kid; give each a kid, which tokens name it by")
        if len({key.kid for key in keys}) < len(keys):
            raise _Refused("two of its keys have the same kid; give each one of its own")
    return keys


def _named(number: int, entry: dict[str, Any], algorithm: Algorithm | None) -> VerifyingKey:
    try:
        return _jwk(entry, algorithm)
    except _Refused as refused:
        raise _Refused(f"keys[{number}]: {refused}") from None


def _jwk(entry: dict[str, Any], algorithm: Algorithm | None) -> VerifyingKey:
    kid, operations = entry.get("kid"), entry.get("key_ops", ["verify"])
    named = entry.get("alg", algorithm)
    if named is None:
        raise _Refused(f"it has no alg; add one of {_NAMES}, or say it for all such keys by jwt_algorithm")
    if named not in ALGORITHMS:
        raise _Refused(f"its alg is none of {_NAMES}; leave it out, or have tokens signed by one of these")
    if kid is not None and (not isinstance(kid, str) or not kid):
        raise _Refused("its kid is no text; give it one, or leave it out where there is one key alone")
    if entry.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        raise _Refused('it is not for signatures; leave it out, or give it use "sig" and key_ops with "verify"')
    if _PRIVATE & entry.keys():
        raise _Refused(
            "it has private members, which a server that only verifies must not have; publish the public key without them"
        )
    kty, curve = _FORMS[named]
    if entry.get("kty") != kty or (curve is not None and entry.get("crv") != curve):
        raise _Refused(f"{named} needs kty {kty!r}{f' and crv {curve!r}' if curve else ''}; give the alg that the key is for")
    if named == "HS256":
        return VerifyingKey("HS256", _strong(_octets(entry.get("k"))), kid)
    try:
        key = _READERS[named](entry)
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, KeyError, UnsupportedAlgorithm):
        raise _Refused("its members make no key; publish it anew") from None
    return VerifyingKey(named, _fitting(named, key), kid)


def _octets(text: object) -> bytes:
    if not isinstance(text, str):
        raise _Refused('it is a secret without a member "k"; add it, in base64url')
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _Refused('its member "k" is not base64url; write it so, without padding') from None
