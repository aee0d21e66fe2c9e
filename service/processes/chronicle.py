"""What the supervisor tells the audit: starts, stops, and configurations that were read again, with the keys that changed."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Final

from service.config import Config
from service.errors import ConfigError, StoreUnavailable
from service.sections import Section
from service.store import ControlStore, Entry, operator

log = logging.getLogger("tureen.audit")

#: Values of other keys that are text are not told: a path or an address may hold what is nobody's business.
_TOLD: Final = frozenset({"bind", "admin.bind", "server", "log.level", "log.format", "auth.jwt_algorithm"})


class Chronicle:
    """Blocks while it writes. Where nothing can be written, the log is told."""

    def __init__(self, state: Path | None) -> None:
        self._store = None if state is None else ControlStore(state)

    def started(self, config: Config) -> None:
        """The server starts by that configuration: its digest, and what it says of who may call."""
        asked = {
            "version": version("tureen"),
            "config": digest(config),
            "changed": dict(_changes(Config.model_construct(), config)),
        }
        self._tell("server start", config, "done", asked)

    def stopped(self, config: Config, code: int) -> None:
        """The server has ended, with that exit code."""
        self._tell("server stop", config, "done" if code == 0 else "failed", {"exit_code": code})

    def reloaded(self, before: Config, after: Config) -> None:
        """The configuration was read again, and workers serve by it."""
        self._tell("config reload", after, "done", {"config": digest(after), "changed": dict(_changes(before, after))})

    def refused(self, config: Config, why: ConfigError | str) -> None:
        """The configuration was read again and is not taken: what is wrong with it, or why no worker takes over by it."""
        wrong = [problem.path for problem in why.details] if isinstance(why, ConfigError) else [why or "no worker starts by it"]
        self._tell("config reload", config, "failed", {"wrong": wrong})

    def _tell(self, action: str, config: Config, outcome: str, detail: Mapping[str, object]) -> None:
        if self._store is None:
            return
        actor, source = operator()
        try:
            self._store.append(Entry(actor, action, str(config.bind), outcome, detail, source=source))
        except StoreUnavailable as error:
            log.warning("the audit was not told of the %s: %s", action, error)


def digest(config: Config) -> str:
    """The SHA-256 of a configuration, so that two can be compared. It reads no file that the configuration names."""
    return hashlib.sha256(json.dumps(config.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def _changes(before: Section, after: Section, within: str = "") -> Iterator[tuple[str, object]]:
    """The keys that differ, each with what it was and is where that may be told."""
    for name in type(after).model_fields:
        was, now, key = getattr(before, name), getattr(after, name), f"{within}{name}"
        if isinstance(now, Section):
            yield from _changes(was, now, f"{key}.")
        elif was != now:
            yield key, [_shown(key, was), _shown(key, now)]


def _shown(key: str, value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value) if key in _TOLD else "…"
