"""Servers that ask for a credential, and the keys that they take."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path

from service.guard.credentials.key import Key, digest, mint
from service.guard.principal import UNBOUNDED, Budget, Scope
from service.store import ControlStore, Entry, prepare
from tests.e2e.served import Server, serving

#: A page of this origin may read answers.
ORIGIN = "https://shop.example"
_FUNCTIONS = {"express": "guarded_app:extend", "quart": "guarded_app:extend_hooked"}


class Keychain:
    """The keys of one server's store, made and ended as its operator does."""

    def __init__(self, state: Path) -> None:
        prepare(state)
        self._state = state

    def make(
        self, *scopes: Scope, models: frozenset[str] | None = None, expires: float | None = None, budget: Budget = UNBOUNDED
    ) -> str:
        """A new key, as it is shown."""
        number, shown = mint()
        key = Key(number, "test", digest(shown.encode()), frozenset(scopes), models, budget, time.time(), expires)
        with closing(ControlStore(self._state)) as store:
            store.create_key(key, _entry("create", number))
        return shown

    def revoke(self, shown: str) -> None:
        """It is no key any more."""
        number = shown.split("_")[1]
        with closing(ControlStore(self._state)) as store:
            store.revoke_key(number, _entry("revoke", number))


class Guarded:
    """A running server, its keys, and one credential of each kind: the header lines that bring it."""

    def __init__(self, server: Server, keys: Keychain, credentials: Mapping[str, Mapping[str, str]]) -> None:
        self.server, self.keys, self.credentials = server, keys, credentials


def guarded(kitchen: Path, place: Path, stack: ExitStack, env: Mapping[str, str]) -> Callable[[str, str], Guarded]:
    """One server of each kind and lane, started when first asked for."""
    running: dict[tuple[str, str], Guarded] = {}

    def of(kind: str, lane: str) -> Guarded:
        if (kind, lane) not in running:
            cwd = place / f"{kind}-{lane}"
            state = cwd / "state"
            state.mkdir(parents=True)
            keys = Keychain(state)
            shown = {
                "wrong": mint()[1],
                "infer": keys.make(Scope.INFER),
                "other": keys.make(Scope.INFER, models=frozenset({"greet"})),
                "metrics": keys.make(Scope.METRICS),
                "admin": keys.make(Scope.ADMIN),
            }
            credentials = {"none": {}, **{name: {"Authorization": f"Bearer {key}"} for name, key in shown.items()}}
            asking = {"TUREEN_AUTH__API_KEYS": "true", "TUREEN_STORE__STATE_DIR": str(state), **env}
            app = ("--app", _FUNCTIONS[lane])
            server = stack.enter_context(serving(kitchen, *app, kind=kind, cwd=cwd, env=asking))
            running[kind, lane] = Guarded(server, keys, credentials)
        return running[kind, lane]

    return of


def _entry(action: str, number: str) -> Entry:
    return Entry("test", f"key {action}", f"key:{number}", "done", {})
