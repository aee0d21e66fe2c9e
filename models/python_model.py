"""The class that a repository's ``model.py`` derives from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from models.runtime import Models
from models.tensor import Array, TensorSpec


class PythonModel(ABC):
    """A model written in Python, which may call other models of its repository.

    ``inputs`` and ``outputs`` describe its tensors, rows first. ``pure = False`` says that ``infer`` changes something, so
    that a failed batch is never tried again in halves.
    """

    inputs: ClassVar[Sequence[TensorSpec]] = ()
    outputs: ClassVar[Sequence[TensorSpec]] = ()
    pure: ClassVar[bool] = True

    def load(self, directory: Path, models: Models) -> None:
        """Called once, before the first ``infer``: ``directory`` is the version's, ``models("ranker")`` another model."""

    @abstractmethod
    def infer(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """{name: array} -> {name: array}, rows first, any number of rows; called from threads, several at once."""

    def close(self) -> None:
        """Called once, when the version is unloaded and nobody uses it."""
