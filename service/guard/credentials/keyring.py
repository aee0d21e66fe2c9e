"""The API keys that one worker believes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from hashlib import sha256
from hmac import compare_digest
from typing import Final, NamedTuple

from service.errors import Unauthorized
from service.guard.credentials.key import ID_SLICE, LENGTH, Key, digest, well_formed
from service.guard.principal import Principal

#: How principals are called that hold a key.
KEY: Final = "key:"

#: What an unknown key is compared with. Nothing that could be sent has it: it is no key's form.
_NOBODY: Final = digest(b"nobody")


class _Held(NamedTuple):
    digest: bytes
    principal: Principal | None
    until: float
    why: str


_UNKNOWN: Final = _Held(_NOBODY, None, -math.inf, "the key is unknown")


class Keyring:
    """Keys by their IDs. ``generation`` rises when any of them changes, so that who keeps a Principal can tell that it is old."""

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self.generation = 0
        self._keys: tuple[Key, ...] = ()
        self._held: dict[bytes, _Held] = {}
        self.replace(keys)

    def replace(self, keys: Iterable[Key]) -> None:
        """From now on these are the keys that there are. May be called in another thread than ``find``."""
        there = tuple(keys)
        if there != self._keys:  # at once where it is the same tuple
            self._held = {key.id.encode(): _held(key) for key in there}
            self._keys = there
            self.generation += 1  # last: who has read it before and found by what was held then asks again

    def find(self, presented: bytes, now: float) -> Principal:
        """Whose key that is, at that second since the epoch. Raises Unauthorized.

        The ID is public, so a dict may look it up. Whether it is known, and how much of the secret is right, does not show in the
        time: the same is computed and compared in each case.
        """
        of_it = self._held.get(presented[ID_SLICE], _UNKNOWN)
        same = compare_digest(sha256(presented).digest(), of_it.digest)
        if same and now < of_it.until and of_it.principal is not None:
            return of_it.principal
        if len(presented) != LENGTH or not well_formed(presented):
            raise Unauthorized("no key has that form")
        raise Unauthorized(of_it.why if same else f"{_UNKNOWN.why} or its secret is wrong")

    def holder(self, name: str, now: float) -> Principal:
        """Who holds, at that second since the epoch, the key that the principal of that name had. Raises Unauthorized."""
        of_it = self._held.get(name.removeprefix(KEY).encode(), _UNKNOWN)
        if now < of_it.until and of_it.principal is not None:
            return of_it.principal
        raise Unauthorized(of_it.why)


def _held(key: Key) -> _Held:
    if key.revoked is not None:
        return _Held(key.digest, None, -math.inf, f"key {key.id} is revoked")
    until = math.inf if key.expires is None else key.expires
    principal = Principal(f"{KEY}{key.id}", key.scopes, key.models, key.budget, until)
    return _Held(key.digest, principal, until, f"key {key.id} has expired")
