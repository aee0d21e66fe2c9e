"""Which paths ask a model for an answer, and whom they ask."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol
from urllib.parse import quote

from models import Array, Signature
from service.guard.input.content import DEFAULT, Content
from service.protocol import images, oip, tfserving
from service.protocol.infer import Encoded, Infer
from service.protocol.pictures import Upload

NAME = r"(?!\.)[A-Za-z0-9._-]{1,128}"
_INFER = re.compile(rf"/v2/models/({NAME})(?:/versions/([^/:]+))?/infer")
_ASKED = re.compile(rf"/v1/models/({NAME})(?:/versions/([^/:]+)|/labels/([^/:]+))?:(predict|classify)")


class Codec(Protocol):
    """A protocol's module: bytes to a checked request, outputs to bytes."""

    def decode(
        self,
        body: bytes,
        signature: Signature,
        header_length: str | None = None,
        content: Content = DEFAULT,
        upload: Upload | None = None,
        /,
    ) -> Infer:
        """``upload``: None where the model takes no encoded images. Raises BadRequest, InvalidInput, UnsupportedMedia, and what
        ``content`` raises."""

    def encode(self, infer: Infer, outputs: Mapping[str, Array], model: str, version: str, /) -> Encoded:
        """Raises NotFinite."""


@dataclass(frozen=True, slots=True)
class Target:
    """A model, perhaps one version or label of it, and the protocol that the request speaks."""

    model: str
    version: str | None
    label: str | None
    protocol: Codec

    @property
    def path(self) -> str:
        """The path that asks it; names are as they came."""
        return self._path(self.model, self.version, self.label)

    @property
    def route(self) -> str:
        """The path's rule, as the app has it."""
        version, label = None if self.version is None else "<segment:version>", None if self.label is None else "<segment:label>"
        return self._path("<model:name>", version, label)

    def quoted(self) -> str:
        """The path as a request line has it."""
        version, label = [None if part is None else quote(part, safe="") for part in (self.version, self.label)]
        return self._path(quote(self.model, safe=""), version, label)

    def _path(self, model: str, version: str | None, label: str | None) -> str:
        root, verb = _FORMS[self.protocol]
        which = f"/versions/{version}" if version is not None else f"/labels/{label}" if label is not None else ""
        return f"{root}/models/{model}{which}{verb}"


#: What a path begins and ends with, by the protocol of the request.
_FORMS: Mapping[Codec, tuple[str, str]] = {oip: ("/v2", "/infer"), tfserving: ("/v1", ":predict"), images: ("/v1", ":classify")}
_VERBS: Mapping[str, Codec] = {"predict": tfserving, "classify": images}


@lru_cache(maxsize=4096)
def target(path: str) -> Target | None:
    """Whom an inference path asks; None for every other path."""
    if found := _INFER.fullmatch(path):
        return Target(found[1], found[2], None, oip)
    if found := _ASKED.fullmatch(path):
        return Target(found[1], found[2], found[3], _VERBS[found[4]])
    return None
