"""JSON Web Tokens (RFC 7519), read by RFC 8725: what a token says of itself decides nothing before its signature is right.

    bytes -> form -> header -> one of our keys, with its one algorithm -> signature -> claims -> Principal

Of a header `alg` and `kid` are compared with what our keys have, and nothing is fetched, opened or chosen by it.
"""

from __future__ import annotations

import logging
import math
import re
from base64 import urlsafe_b64decode
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NoReturn

import jwt

from models.errors import Problem
from service.errors import ConfigError, Unauthorized
from service.guard.credentials.credential import LONGEST
from service.guard.credentials.json_object import json_object
from service.guard.credentials.jwks import VerifyingKey, read_keys
from service.guard.principal import Principal, Scope
from service.sections import Auth

log = logging.getLogger("tureen.tokens")

#: Verified tokens that are remembered: a worker's clients, each with the token that it uses now.
MOST: Final = 4096
#: A subject's characters. It is refused past that and not cut: two callers must not become one.
SUBJECT: Final = 128

_FORM: Final = re.compile(rb"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+")
# Tokens of the same issuer for other purposes (RFC 8725, 3.11): one that says so is none of these.
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_SCOPES: Final = {scope.value: scope for scope in Scope}

Stamp = tuple[int, int, int]


class Tokens:
    """Whose a token is, by the keys of a file. ``generation`` rises when they change, so that who keeps a Principal can tell."""

    def __init__(self, auth: Auth, file: Path, issuer: str, audience: str) -> None:
        self.generation = 0
        self._file, self._algorithm = file, auth.jwt_algorithm
        self._issuer, self._audience = issuer, audience
        self._scopes, self._models, self._leeway_s = auth.jwt_scopes, auth.jwt_models, auth.jwt_leeway_s
        self._verified: OrderedDict[bytes, Principal] = OrderedDict()
        self._stamp = _stamp(file)
        self._use(read_keys(file, self._algorithm))
        self._jws = jwt.PyJWS()

    @classmethod
    def open(cls, auth: Auth) -> Tokens:
        """By that section. Raises ConfigError, with a Problem for each key that is missing, or what is wrong with the file."""
        wanted = {"jwt_keys": auth.jwt_keys, "jwt_issuer": auth.jwt_issuer, "jwt_audience": auth.jwt_audience}
        if auth.jwt_keys is None or auth.jwt_issuer is None or auth.jwt_audience is None:
            missing = [
                Problem(f"[auth] {key}", "tokens cannot be verified without it", str(Auth.model_fields[key].description), "nothing")
                for key, value in wanted.items()
                if value is None
            ]
            raise ConfigError("; ".join(map(str, missing)), *missing)
        return cls(auth, auth.jwt_keys, auth.jwt_issuer, auth.jwt_audience)

    @property
    def remembered(self) -> int:
        """How many verified tokens are remembered."""
        return len(self._verified)

    def read(self, token: bytes, now: float) -> Principal:
        """Whose token that is, at that second since the epoch. Raises Unauthorized."""
        verified = self._verified  # the keys may change meanwhile: what the old ones have verified is not remembered by the new
        name = sha256(token).digest()
        known = verified.get(name)
        if known is not None:
            if now < known.expires:
                verified.move_to_end(name)
                return known
            del verified[name]
        principal = verified[name] = self._principal(self._payload(token), now)
        if len(verified) > MOST:
            verified.popitem(last=False)
        return principal

    def refresh(self) -> None:
        """Reads the file again where it has changed: blocks, so not for the event loop. What is broken is logged once and not used.

        May be called from another thread than ``read``: all that is read there is replaced whole.
        """
        try:
            stamp = _stamp(self._file)
            if stamp == self._stamp:
                return
            self._stamp = stamp
            keys = read_keys(self._file, self._algorithm)
        except ConfigError as error:
            log.warning("%s; tokens are verified with the keys that were read before, and it is tried again when it changes", error)
            return
        self._use(keys)
        log.info("%s has changed: tokens are verified with its %d keys now", self._file.name, len(keys))

    def _use(self, keys: Sequence[VerifyingKey]) -> None:
        self._keys: Mapping[str | None, VerifyingKey] = {key.kid: key for key in keys}
        self._verified = OrderedDict()  # after the keys, and not cleared: ``read`` may hold the one before
        self.generation += 1

    def _payload(self, token: bytes) -> bytes:
        """What the token says, verified."""
        form = _FORM.fullmatch(token) if len(token) <= LONGEST else None
        if form is None:
            _refuse("the token is no compact JWS of at most 8 KiB")
        header = _object(form[1], "header")
        if "crit" in header or "b64" in header:
            _refuse("the token asks for an extension")
        kind = header.get("typ", "JWT")
        if not isinstance(kind, str) or kind.lower() not in _TYPES:
            _refuse("the token is of another type")
        key = self._key(header.get("kid"))
        if header.get("alg") != key.algorithm:
            _refuse("the token's algorithm is not its key's")
        try:
            verified = self._jws.decode_complete(token, key.key, algorithms=[key.algorithm])
        except jwt.PyJWTError as error:
            _refuse(f"the token is not signed by a key of ours ({type(error).__name__})")
        return bytes(verified["payload"])

    def _key(self, kid: object) -> VerifyingKey:
        keys = self._keys
        if kid is not None and not isinstance(kid, str):
            _refuse("the token's kid is no text")
        if len(keys) == 1:
            (only,) = keys.values()
            if kid is None or only.kid is None or kid == only.kid:
                return only
        found = keys.get(kid) if kid is not None else None
        if found is None:
            _refuse("the token names no key of ours")
        return found

    def _principal(self, payload: bytes, now: float) -> Principal:
        claims = _parsed(payload, "payload")
        late, early = now - self._leeway_s, now + self._leeway_s
        expires = _seconds(claims, "exp")
        if expires is None or expires <= late:
            _refuse("the token has no exp" if expires is None else "the token has expired")
        for claim in ("nbf", "iat"):
            begins = _seconds(claims, claim)
            if begins is not None and begins > early:
                _refuse(f"the token's {claim} is yet to come")
        if claims.get("iss") != self._issuer:
            _refuse("the token is of another issuer")
        audience = claims.get("aud")
        meant = audience if isinstance(audience, list) else [audience]
        if not all(isinstance(one, str) for one in meant) or self._audience not in meant:
            _refuse("the token is for another audience")
        subject = claims.get("sub")
        if not isinstance(subject, str) or not 0 < len(subject) <= SUBJECT or not subject.isprintable():
            _refuse(f"the token's sub is no printable text of 1 to {SUBJECT} characters")
        scopes, models = _scopes(claims.get(self._scopes)), _models(claims, self._models)
        return Principal(f"jwt:{subject}", scopes, models, expires=expires + self._leeway_s)


def _refuse(why: str) -> NoReturn:
    raise Unauthorized(why)


def _object(segment: bytes, what: str) -> dict[str, Any]:
    try:
        return _parsed(urlsafe_b64decode(segment + b"=" * (-len(segment) % 4)), what)
    except ValueError:
        _refuse(f"the token's {what} is not base64url")


def _parsed(content: bytes, what: str) -> dict[str, Any]:
    try:
        return json_object(content)
    except ValueError:
        _refuse(f"the token's {what} is no JSON object, or has a name twice")


def _seconds(claims: Mapping[str, Any], claim: str) -> float | None:
    value = claims.get(claim)
    if value is None and claim not in claims:
        return None
    # Beyond 1e11 it is no time: most likely milliseconds, and taken for seconds they would never end.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e11 or not math.isfinite(value):
        _refuse(f"the token's {claim} is no number of seconds")
    return float(value)


def _scopes(claim: object) -> frozenset[Scope]:
    """Those of ours that the claim holds; others are other services'."""
    named = claim.split() if isinstance(claim, str) else [] if claim is None else claim
    if not isinstance(named, list) or not all(isinstance(one, str) for one in named):
        _refuse("the token's scopes are neither a text nor a list of texts")
    return frozenset(_SCOPES[one] for one in named if one in _SCOPES)


def _models(claims: Mapping[str, Any], claim: str) -> frozenset[str] | None:
    if claim not in claims:
        return None
    named = claims[claim]
    if not isinstance(named, list) or not all(isinstance(one, str) for one in named):
        _refuse("the token's models are no list of texts")
    return frozenset(named)


def _stamp(file: Path) -> Stamp | None:
    """What changes when the file does. A link is followed: Kubernetes renews a mounted secret by putting another one there."""
    try:
        told = file.stat()
    except OSError:
        return None
    return told.st_mtime_ns, told.st_size, told.st_ino
