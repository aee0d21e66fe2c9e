"""What callers are believed by, in a worker that watches a store and a file."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path

import pytest

from service.errors import Unauthorized
from service.guard.credentials.key import Key, digest, mint
from service.guard.credentials.keyring import Keyring
from service.guard.credentials.tokens import Tokens
from service.guard.principal import Scope
from service.store import ControlStore, Entry, prepare
from service.store.watch import Watch
from tests.service.disorder import damaged, gone
from tests.service.issuer import NOW, jwk, reader, signed

PATIENCE_S = 10.0


class Desk:
    """A store, and somebody who makes and revokes its keys."""

    def __init__(self, state: Path) -> None:
        self.state = state
        prepare(state)
        self.store = ControlStore(state)

    def create(self, expires: float | None = None) -> tuple[str, bytes]:
        number, shown = mint()
        key = Key(number, "ci", digest(shown.encode()), frozenset({Scope.INFER}), created=time.time(), expires=expires)
        self.store.create_key(key, Entry("user:root", "key create", number, "done"))
        return number, shown.encode()

    def revoke(self, number: str) -> None:
        self.store.revoke_key(number, Entry("user:root", "key revoke", number, "done"))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@asynccontextmanager
async def watching(state: Path | None, keyring: Keyring | None, tokens: Tokens | None = None) -> AsyncIterator[None]:
    store = None if state is None else ControlStore(state)
    watch = Watch(store, keyring, tokens)
    await watch.open()
    try:
        yield
    finally:
        await watch.close()
        if store is not None:
            store.close()


def believed(keyring: Keyring, shown: bytes) -> bool:
    try:
        keyring.find(shown, time.time())
    except Unauthorized:
        return False
    return True


async def until(condition: Callable[[], bool]) -> None:
    last = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < last
        await asyncio.sleep(0.005)


async def test_keys_that_are_there_are_believed_from_the_first_moment(desk: Desk) -> None:
    _, shown = desk.create()
    keyring = Keyring()
    async with watching(desk.state, keyring):
        assert believed(keyring, shown)


async def test_what_is_made_and_revoked_meanwhile_is_known_within_a_second(desk: Desk) -> None:
    keyring = Keyring()
    async with watching(desk.state, keyring):
        number, shown = desk.create()
        await asyncio.wait_for(until(lambda: believed(keyring, shown)), 1)
        desk.revoke(number)
        await asyncio.wait_for(until(lambda: not believed(keyring, shown)), 1)


async def test_a_change_of_something_else_leaves_the_generation(desk: Desk) -> None:
    desk.create()
    keyring = Keyring()
    async with watching(desk.state, keyring):
        before = keyring.generation
        desk.store.append(Entry("user:root", "load", "m", "done"))
        _, shown = desk.create()
        await until(lambda: believed(keyring, shown))
        assert keyring.generation == before + 1


@pytest.mark.parametrize("cause", [damaged, gone])
async def test_while_the_store_cannot_be_read_what_was_known_is_believed_and_ends_when_it_was_to_end(
    desk: Desk, cause: Callable[[Path], AbstractContextManager[None]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tureen.watch")
    _, lasting = desk.create()
    _, ending = desk.create(time.time() + 60)
    keyring = Keyring()
    async with watching(desk.state, keyring):
        with cause(desk.state / "control.db"):
            if cause is gone:
                await until(lambda: bool(caplog.records))
            assert believed(keyring, lasting)
            assert keyring.find(ending, time.time())
            with pytest.raises(Unauthorized):
                keyring.find(ending, time.time() + 61)
        _, shown = desk.create()
        await until(lambda: believed(keyring, shown))
    assert [record.levelname for record in caplog.records] in ([], ["WARNING", "INFO"])


async def test_where_no_key_could_be_read_nobody_is_believed_until_one_can(desk: Desk) -> None:
    _, shown = desk.create()
    keyring = Keyring()
    with damaged(desk.state / "control.db"):
        async with watching(desk.state, keyring):
            assert not believed(keyring, shown)
    async with watching(desk.state, keyring):
        assert believed(keyring, shown)


async def test_a_file_of_tokens_keys_that_changes_is_read_again(tmp_path: Path) -> None:
    tokens = reader(tmp_path, {"keys": [jwk("HS256", kid="a")]})
    new = signed(number=1, header={"kid": "b"})
    async with watching(None, None, tokens):
        (tmp_path / "new").write_text(json.dumps({"keys": [jwk("HS256", 1, kid="b")]}))
        os.replace(tmp_path / "new", tmp_path / "keys")
        await until(lambda: tokens.generation == 2)
    assert tokens.read(new, NOW)


async def test_what_watches_nothing_makes_nothing(tmp_path: Path) -> None:
    async with watching(tmp_path, None):
        pass
    assert not os.listdir(tmp_path)
