"""What the document is made from: the app's routes and the models that answer."""

from __future__ import annotations

from dataclasses import dataclass

from models.signature import Signature
from service.guard.access import OPEN, Access


@dataclass(frozen=True, slots=True)
class Route:
    """One rule of the app. ``rule`` is as Werkzeug writes it, ``endpoint`` as Quart does, ``words`` its handler's docstring;
    ``ours``: it is Tureen's own, not the user's. ``access``: what it asks of callers."""

    rule: str
    endpoint: str
    methods: frozenset[str]
    words: str = ""
    ours: bool = True
    websocket: bool = False
    access: Access = OPEN


@dataclass(frozen=True, slots=True)
class Offer:
    """One version of a model that answers; ``newest``: it also answers where no version is named. ``images``: the input that
    it takes encoded images for."""

    model: str
    version: str
    signature: Signature
    newest: bool = True
    labels: tuple[str, ...] = ()
    images: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What this server asks of callers: ``credential``: who they are; ``budget``: that they come no more often than they may."""

    credential: bool = False
    budget: bool = False


#: Nothing.
ANYBODY = Asked()
