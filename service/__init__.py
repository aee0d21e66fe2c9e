"""The HTTP service: a Quart app around an engine that pairs models with batchers."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.app import create_app
    from service.config import Config
    from service.context import service_of
    from service.guard.access import needs
    from service.mounts import mount

__all__ = ["Config", "create_app", "mount", "needs", "service_of"]

_WHERE = {
    "Config": "service.config",
    "create_app": "service.app",
    "mount": "service.mounts",
    "needs": "service.guard.access",
    "service_of": "service.context",
}


def __getattr__(name: str) -> object:
    """Imported when asked for: the supervisor and the commands that only talk to a server need no runtime."""
    where = _WHERE.get(name)
    if where is None:
        raise AttributeError(f"module 'service' has no attribute {name!r}")
    return getattr(importlib.import_module(where), name)
