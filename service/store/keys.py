"""The API keys that there are and were, without their secrets. A row is never deleted: the audit speaks of it by its ID."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict, replace

from service.guard.credentials.key import Key
from service.guard.principal import Budget, Scope


class KeyRefused(Exception):
    """What was asked of a key cannot be: a sentence with what to do."""


def keys(connection: sqlite3.Connection) -> tuple[Key, ...]:
    """All of them, by when they were made."""
    return tuple(map(_key, connection.execute(f"SELECT {_COLUMNS} FROM keys ORDER BY created, id")))


def mark(connection: sqlite3.Connection) -> int:
    """A number that is another one once they have changed."""
    return int(connection.execute("SELECT number FROM keys_mark").fetchone()[0])


def create(connection: sqlite3.Connection, key: Key) -> None:
    """Writes a new key."""
    connection.execute(
        f"INSERT INTO keys ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            key.id,
            key.name,
            key.digest,
            json.dumps(sorted(key.scopes)),
            None if key.models is None else json.dumps(sorted(key.models)),
            json.dumps({name: value for name, value in asdict(key.budget).items() if value is not None}),
            key.created,
            key.expires,
            key.revoked,
            key.successor,
        ),
    )


def rotate(connection: sqlite3.Connection, key_id: str, made: tuple[str, bytes], now: float, overlap_s: float) -> tuple[Key, Key]:
    """Writes a key with the ID and digest of ``made`` and the rights of the one it succeeds, which ends after the overlap; both
    are returned, the old one first. A lifetime begins anew. Raises KeyRefused."""
    old = _live(connection, key_id, now, "rotated")
    if old.successor is not None:
        raise KeyRefused(f"key {key_id} has been rotated already; rotate the one that succeeds it, {old.successor}")
    lasts_s = None if old.expires is None else old.expires - old.created
    successor, digest = made
    new = replace(old, id=successor, digest=digest, created=now, expires=None if lasts_s is None else now + lasts_s)
    ends = now + overlap_s if old.expires is None else min(old.expires, now + overlap_s)
    create(connection, new)
    connection.execute("UPDATE keys SET expires = ?, successor = ? WHERE id = ?", (ends, new.id, old.id))
    return replace(old, expires=ends, successor=new.id), new


def revoke(connection: sqlite3.Connection, key_id: str, now: float) -> Key:
    """The key is no good from now on. Raises KeyRefused, also where it was no good already: then nothing is written."""
    revoked = replace(_live(connection, key_id, now, "revoked"), revoked=now)
    connection.execute("UPDATE keys SET revoked = ? WHERE id = ?", (now, key_id))
    return revoked


def _live(connection: sqlite3.Connection, key_id: str, now: float, what: str) -> Key:
    row = connection.execute(f"SELECT {_COLUMNS} FROM keys WHERE id = ?", (key_id,)).fetchone()
    if row is None:
        raise KeyRefused(f"there is no key {key_id}; `tureen keys list` has those that there are")
    key = _key(row)
    if key.revoked is not None:
        raise KeyRefused(f"key {key_id} is revoked, and cannot be {what}; a new one is made by `tureen keys create`")
    if key.expires is not None and key.expires <= now:
        raise KeyRefused(f"key {key_id} has expired, and cannot be {what}; a new one is made by `tureen keys create`")
    return key


_COLUMNS = "id, name, digest, scopes, models, budget, created, expires, revoked, successor"


def _key(row: tuple[str, str, bytes, str, str | None, str, float, float | None, float | None, str | None]) -> Key:
    key_id, name, digest, scopes, models, budget, created, expires, revoked, successor = row
    return Key(
        key_id,
        name,
        digest,
        frozenset(map(Scope, json.loads(scopes))),
        None if models is None else frozenset(json.loads(models)),
        Budget(**json.loads(budget)),
        created,
        expires,
        revoked,
        successor,
    )
