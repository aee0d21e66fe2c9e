"""What a configuration that is read again may change in a server that runs."""

from __future__ import annotations

from pydantic import ValidationError

from service.config import Config
from service.errors import ConfigError


def settled(wanted: Config, now: Config, most: int) -> tuple[Config, list[str]]:
    """What can be had of it without a new start, and what to say of the rest. ``most``: the most workers there can be.

    Raises ConfigError where that contradicts itself, as asking nobody who he is does at the address that is kept.
    """
    said: list[str] = []
    kept: dict[str, object] = {}
    if wanted.bind != now.bind:
        said.append(f"bind is still {now.bind}: the address changes only when the server is started again")
        kept["bind"] = now.bind
    if wanted.admin != now.admin:
        said.append("[admin] is as before: the address changes only when the server is started again")
        kept["admin"] = now.admin
    if wanted.store != now.store:
        said.append("[store] is as before: it changes only when the server is started again")
        kept["store"] = now.store
    if wanted.limits.budget_entries != now.limits.budget_entries:
        said.append("[limits] budget_entries is as before: it changes only when the server is started again")
        kept["limits"] = wanted.limits.model_copy(update={"budget_entries": now.limits.budget_entries})
    if wanted.workers > most:
        said.append(f"workers = {wanted.workers}, and this server can grow to {most}; start it again for more")
        kept["workers"] = most
    return _coherent(wanted.model_copy(update=kept)), said


def _coherent(config: Config) -> Config:
    try:
        return Config.model_validate_json(config.model_dump_json())  # a copy is not checked as a whole
    except ValidationError as error:
        why = "; ".join(str(detail.get("ctx", {}).get("error", detail["msg"])) for detail in error.errors())
        raise ConfigError(f"with what changes only when the server is started again, it contradicts itself: {why}") from None
