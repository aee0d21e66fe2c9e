"""What all workers of a server keep together: a small SQLite database, `control.db` in the state directory.

It says what is wanted of the models, which API keys there are, what is spent of the day's quotas, and who changed what. Every
access blocks, so none belongs on the event loop.
"""

from __future__ import annotations

from service.store.audit import Asked, Entry, operator
from service.store.control import ControlStore, Snapshot, prepare
from service.store.keys import KeyRefused
from service.store.trail import Trail
from service.store.wishes import Wanted, Wish

__all__ = ["Asked", "ControlStore", "Entry", "KeyRefused", "Snapshot", "Trail", "Wanted", "Wish", "operator", "prepare"]
