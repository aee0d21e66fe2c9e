"""What the service needs of a loaded model, whatever computes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from models.signature import Signature
from models.tensor import Array


class Runtime(Protocol):
    """One loaded version. ``infer`` is called from threads, several at once, and must be safe for that."""

    @property
    def platform(self) -> str:
        """`onnxruntime_onnx`, `lightgbm` or `python`."""

    @property
    def signature(self) -> Signature:
        """The tensors it takes and gives."""

    @property
    def pure(self) -> bool:
        """Whether calling it again with the same rows is harmless, so that a failed batch may be halved and retried."""

    @property
    def notes(self) -> Sequence[str]:
        """What the operator should know about how the model was loaded, one sentence each."""

    def infer(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        """Computes the named outputs for checked inputs, rows first. Raises InferenceError for the model's own failure."""

    def close(self) -> None:
        """Frees what it holds. Called once, when nobody uses it any more."""


class Models(Protocol):
    """How a Python model reaches the repository's other models: ``models("ranker").infer({...})``."""

    def __call__(self, name: str, version: int | None = None) -> Callee:
        """A handle on that model, its serving version unless one is named; resolved anew at each call."""


class Callee(Protocol):
    """Another model of the repository, as seen by a Python model."""

    def infer(self, inputs: Mapping[str, Array], outputs: Sequence[str] = ()) -> dict[str, Array]:
        """Computes in the caller's thread; the model cannot be closed meanwhile. Raises ModelError."""
