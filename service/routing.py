"""Which paths ask a model for an answer, and whom they ask."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from models import Array, Signature
from service.guard.input.content import DEFAULT, Content
from service.protocol import oip, tfserving
from service.protocol.infer import Encoded, Infer

NAME = r"(?!\.)[A-Za-z0-9._-]{1,128}"
_INFER = re.compile(rf"/v2/models/({NAME})(?:/versions/([^/:]+))?/infer")
_PREDICT = re.compile(rf"/v1/models/({NAME})(?:/versions/([^/:]+)|/labels/([^/:]+))?:predict")


class Codec(Protocol):
    """A protocol's module: bytes to a checked request, outputs to bytes."""

    def decode(self, body: bytes, signature: Signature, header_length: str | None = None, content: Content = DEFAULT, /) -> Infer:
        """Raises BadRequest, InvalidInput, and what ``content`` raises."""

    def encode(self, infer: Infer, outputs: Mapping[str, Array], model: str, version: str, /) -> Encoded:
        """Raises NotFinite."""


@dataclass(frozen=True, slots=True)
class Target:
    """A model, perhaps one version or label of it, and the protocol that the request speaks."""

    model: str
    version: str | None
    label: str | None
    protocol: Codec


@lru_cache(maxsize=4096)
def target(path: str) -> Target | None:
    """Whom an inference path asks; None for every other path."""
    if found := _INFER.fullmatch(path):
        return Target(found[1], found[2], None, oip)
    if found := _PREDICT.fullmatch(path):
        return Target(found[1], found[2], found[3], tfserving)
    return None
