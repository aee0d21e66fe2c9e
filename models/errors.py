"""What can be wrong with a model, its repository, or the tensors sent to it.

    ModelError
    ├── UnknownModel             the repository has no model of that name
    │   └── UnknownVersion       the model has no such version or label
    ├── NotReady                 known, but not loaded now
    ├── InvalidInput             the caller's tensors do not fit the model's signature
    ├── LoadError                a version, or its model.toml, will not load; names file, key and the fix
    └── InferenceError           the model raised, or broke its own contract

Every message is one sentence that is safe to show a caller: no path beyond the repository's own names, no traceback. What
only the operator may see travels as ``__cause__``.
"""

from __future__ import annotations

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


class LoadError(ModelError):
    """A version, or its model.toml, will not load."""


class InferenceError(ModelError):
    """The model raised, or broke its own contract."""
