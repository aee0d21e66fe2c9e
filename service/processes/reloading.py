"""What a configuration that is read again may change in a server that runs."""

from __future__ import annotations

from service.config import Config


def settled(wanted: Config, now: Config, most: int) -> tuple[Config, list[str]]:
    """What can be had of it without a new start, and what to say of the rest. ``most``: the most workers there can be."""
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
    return wanted.model_copy(update=kept), said
