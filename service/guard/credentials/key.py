"""An API key: what its holder has, what is kept of it, and how the two are told to belong together.

A key is `tur_ID_SECRET`: the ID is public and what commands, logs and the audit call it; the secret is 256 random bits.
"""

from __future__ import annotations

import re
import secrets
import string
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from service.guard.principal import UNBOUNDED, Budget, Scope

PREFIX: Final = "tur"
#: 50 bits: two keys of one server never share an ID by chance, and the database refuses it where they would.
ID_LENGTH: Final = 10
#: 43 digits of base 62 are 256.03 bits.
SECRET_LENGTH: Final = 43

_ID_DIGITS: Final = string.ascii_lowercase + "234567"
_SECRET_DIGITS: Final = string.ascii_letters + string.digits
_ID: Final = re.compile(rf"(?:{PREFIX}_)?([a-z2-7]{{{ID_LENGTH}}})(?:_[A-Za-z0-9]{{{SECRET_LENGTH}}})?")
_FORM: Final = re.compile(rf"{PREFIX}_([a-z2-7]{{{ID_LENGTH}}})_[A-Za-z0-9]{{{SECRET_LENGTH}}}".encode())

#: Where the ID lies in a key.
ID_SLICE: Final = slice(len(PREFIX) + 1, len(PREFIX) + 1 + ID_LENGTH)
#: Bytes of a key.
LENGTH: Final = len(PREFIX) + ID_LENGTH + SECRET_LENGTH + 2


@dataclass(frozen=True, slots=True)
class Key:
    """What is kept of a key; times in seconds since the epoch. ``models``: None for all. ``expires``, ``revoked``: None for never.
    ``successor``: the ID of the key that was made in its place."""

    id: str
    name: str
    digest: bytes = field(repr=False)
    scopes: frozenset[Scope]
    models: frozenset[str] | None = None
    budget: Budget = UNBOUNDED
    created: float = 0.0
    expires: float | None = None
    revoked: float | None = None
    successor: str | None = None


def mint() -> tuple[str, str]:
    """A new ID, and the key with it, which is to be shown once and kept nowhere."""
    made = "".join(secrets.choice(_ID_DIGITS) for _ in range(ID_LENGTH))
    secret = "".join(secrets.choice(_SECRET_DIGITS) for _ in range(SECRET_LENGTH))
    return made, f"{PREFIX}_{made}_{secret}"


def digest(key: bytes) -> bytes:
    """What is kept in the place of a key: SHA-256 of all of it.

    Slow, salted hashes are for passwords, whose few likely values can be tried one after the other. Of 256 random bits nobody can
    try a share worth naming, however fast the hash; and it is computed for each request.
    """
    return sha256(key).digest()


def well_formed(presented: bytes) -> bool:
    """Whether that could be a key of ours."""
    return _FORM.fullmatch(presented) is not None


def identified(text: str) -> str | None:
    """The ID in what a person gives for one: the ID, with or without the prefix, or by mistake the whole key. None: it is none."""
    match = _ID.fullmatch(text)
    return None if match is None else match[1]
