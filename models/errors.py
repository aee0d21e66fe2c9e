"""What can be wrong with a model, its repository, or the tensors sent to it.

    ModelError
    ├── UnknownModel             the repository has no model of that name
    │   └── UnknownVersion       the model has no such version or label
    ├── NotReady                 known, but not loaded now
    ├── InvalidInput             the caller's tensors do not fit the model's signature
    ├── ImageError               an encoded image cannot be used
    │   ├── BadImage             it is damaged, truncated or empty
    │   ├── ImageTooLarge        it has more pixels or frames than may be
    │   └── NotAnImage           it is something else, or of a format that is not taken
    ├── LoadError                a version, or its model.toml, will not load; names file, key and the fix
    └── InferenceError           the model raised, or
        └── BrokenDescription    answered otherwise than it describes itself

Every message is one sentence that is safe to show a caller: no path beyond the repository's own names, no traceback. What
only the operator may see travels as ``__cause__``.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a request: where, what, and what was expected and found there."""

    path: str
    problem: str
    expected: str = ""
    got: str = ""

    def __str__(self) -> str:
        sides = [f"expected {self.expected}"] * bool(self.expected) + [f"got {self.got}"] * bool(self.got)
        return f"{self.path}: {self.problem}" + (f" ({', '.join(sides)})" if sides else "")


class ModelError(Exception):
    """Anything a model, its repository or a caller's tensors are to blame for."""


class UnknownModel(ModelError):
    """The repository has no model of that name."""


class UnknownVersion(UnknownModel):
    """The model has no such version or label."""


class NotReady(ModelError):
    """The model is known, but cannot answer now."""


class InvalidInput(ModelError):
    """The caller's tensors do not fit the model's signature."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = problems


class ImageError(ModelError):
    """An encoded image cannot be used; ``problems`` say where in the request it stands, once that is known."""

    problems: tuple[Problem, ...] = ()

    def at(self, path: str) -> ImageError:
        """The same error of the image at that place of a request."""
        placed = copy(self)
        placed.args = (f"{path}: {self}",)
        placed.problems = (Problem(path, str(self)),)
        return placed


class BadImage(ImageError):
    """It is damaged, truncated or empty."""


class ImageTooLarge(ImageError):
    """It has more pixels or frames than may be: ``what`` says of which."""

    def __init__(self, message: str, what: str = "pixels") -> None:
        super().__init__(message)
        self.what = what


class NotAnImage(ImageError):
    """It is something else, or of a format that is not taken."""


class LoadError(ModelError):
    """A version, or its model.toml, will not load."""


class InferenceError(ModelError):
    """The model raised, or broke its own contract."""


class BrokenDescription(InferenceError):
    """The model's answer is not what it says of itself: an output is missing, or has other rows, dims or values."""
