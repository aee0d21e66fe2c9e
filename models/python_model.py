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

    ``inputs`` and ``outputs`` describe its tensors, rows first; ``load`` may still set them, they are read after it.
    ``pure = False`` says that ``infer`` changes something, so that a failed batch is never tried again in halves.
    Files beside ``model.py`` are imported relatively: ``from .features import age``.
    """

    inputs: ClassVar[Sequence[TensorSpec]] = ()
    outputs: ClassVar[Sequence[TensorSpec]] = ()
    pure: ClassVar[bool] = True

    def load(self, directory: Path, models: Models) -> None:
        """Called once, before the first ``infer``: ``directory`` is the version's, ``models("ranker")`` another model."""

    @abstractmethod
    def infer(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """{name: array} -> {name: array}, rows first, any number of rows; called from threads, several at once.

        The arrays are read-only, BYTES are object arrays of ``bytes``. Every declared output must be there, with as many
        rows as came in. An exception is told to the callers by its type and message.
        """

    def close(self) -> None:
        """Called once, when the version is unloaded and nobody uses it."""
