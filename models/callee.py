"""How a Python model calls the other models of its repository."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from models.errors import InferenceError, InvalidInput
from models.lease import LoadedVersion
from models.runtime import Callee
from models.tensor import Array


class Lender(Protocol):
    """What lends loaded versions: the registry."""

    def require(self, name: str) -> None:
        """Raises UnknownModel where there is no model of that name, ready or not."""

    def lease(self, name: str, version: int | None = None, label: str | None = None) -> AbstractContextManager[LoadedVersion]:
        """A lease on that ready version, for the length of a ``with``."""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """``models("ranker")``: a handle, resolved at each call, so that a reload or an unload is seen at once."""

    lender: Lender

    def __call__(self, name: str, version: int | None = None) -> Callee:
        """Raises UnknownModel where the repository has no such model; whether it is ready shows at the call."""
        self.lender.require(name)
        return _Handle(self.lender, name, version)


@dataclass(frozen=True, slots=True)
class _Handle:
    lender: Lender
    name: str
    version: int | None

    def infer(self, inputs: Mapping[str, Array], outputs: Sequence[str] = ()) -> dict[str, Array]:
        with self.lender.lease(self.name, self.version) as leased:
            signature = leased.signature
            arrays = {name: np.asarray(value) for name, value in inputs.items()}
            try:
                signature.check(arrays)
                return leased.runtime.infer(arrays, signature.select(outputs))
            except InvalidInput as error:  # the calling model's mistake, not its caller's
                raise InferenceError(f"it called model {self.name!r} with what does not fit: {error}") from error
