"""What the document is made from: the app's routes and the models that answer."""

from __future__ import annotations

from dataclasses import dataclass

from models.signature import Signature


@dataclass(frozen=True, slots=True)
class Route:
    """One rule of the app. ``rule`` is as Werkzeug writes it, ``endpoint`` as Quart does, ``words`` its handler's docstring;
    ``ours``: it is Tureen's own, not the user's."""

    rule: str
    endpoint: str
    methods: frozenset[str]
    words: str = ""
    ours: bool = True
    websocket: bool = False


@dataclass(frozen=True, slots=True)
class Offer:
    """One version of a model that answers; ``newest``: it also answers where no version is named."""

    model: str
    version: str
    signature: Signature
    newest: bool = True
    labels: tuple[str, ...] = ()
