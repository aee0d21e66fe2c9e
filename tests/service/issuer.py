"""An issuer of tokens: keys of each algorithm, and tokens as good or as bad as a test wants them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from service.guard.credentials.jwks import ALGORITHMS, Algorithm
from service.guard.credentials.tokens import Tokens
from service.sections import Auth

ISSUER, AUDIENCE, NOW = "https://id.example", "tureen", 1_800_000_000.0
SECRET = b"0123456789abcdef0123456789abcdef"
CLAIMS: Mapping[str, Any] = {"iss": ISSUER, "aud": AUDIENCE, "exp": NOW + 60, "sub": "shop", "scope": "infer"}
ASYMMETRIC: tuple[Algorithm, ...] = ALGORITHMS[1:]


@cache
def private(algorithm: Algorithm, number: int = 0) -> Any:
    """One of the issuer's keys."""
    match algorithm:
        case "HS256":
            return SECRET[number:] + SECRET[:number]
        case "RS256":
            return rsa.generate_private_key(65537, 2048)
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "EdDSA":
            return ed25519.Ed25519PrivateKey.generate()


def pem(algorithm: Algorithm, number: int = 0) -> bytes:
    """The public half of an asymmetric one."""
    public: bytes = private(algorithm, number).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return public


def private_pem(algorithm: Algorithm) -> bytes:
    """Both halves."""
    both: bytes = private(algorithm).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return both


def jwk(algorithm: Algorithm, number: int = 0, *, whole: bool = False, **members: object) -> dict[str, Any]:
    """A key as a JWKS has it; ``whole``: with its private half."""
    key = private(algorithm, number)
    if algorithm == "HS256":
        made: dict[str, Any] = {"kty": "oct", "k": b64(key)}
    else:
        family = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}[algorithm]
        made = family.to_jwk(key if whole else key.public_key(), as_dict=True)  # type: ignore[attr-defined]  # each has it
        made.pop("key_ops", None)
    return made | {"alg": algorithm} | members


def b64(content: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def claims(**changed: Any) -> dict[str, Any]:
    """A good token's claims but for these; None takes one away."""
    return {name: value for name, value in {**CLAIMS, **changed}.items() if value is not None}


def signed(
    algorithm: Algorithm = "HS256",
    said: Mapping[str, Any] = CLAIMS,
    number: int = 0,
    header: Mapping[str, Any] = MappingProxyType({}),
) -> bytes:
    """A token, as the issuer signs it."""
    return jwt.encode(dict(said), private(algorithm, number), algorithm=algorithm, headers=dict(header) or None).encode()


def forged(header: bytes | Mapping[str, object], payload: bytes | Mapping[str, object], secret: bytes = SECRET) -> bytes:
    """A token of just these bytes, signed by HMAC-SHA256 with that secret, whatever its header says."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)]
    body = ".".join(map(b64, parts)).encode()
    return body + b"." + b64(hmac.new(secret, body, hashlib.sha256).digest()).encode()


def reader(directory: Path, content: bytes | object, algorithm: Algorithm | None = None, **auth: Any) -> Tokens:
    """What reads tokens by the keys of such a file."""
    file = directory / "keys"
    file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return Tokens.open(Auth(jwt_keys=file, jwt_algorithm=algorithm, jwt_issuer=ISSUER, jwt_audience=AUDIENCE, **auth))
