"""LightGBM models: a model text as ``Booster.save_model`` writes it, answered by LightGBM's own library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from models.errors import InferenceError, LoadError
from models.plain_file import NotPlain, open_plain
from models.runtimes.lightgbm_native import NativeBooster, library_path
from models.runtimes.lightgbm_text import ModelText, read_model_text
from models.runtimes.lightgbm_trial import try_model_text
from models.signature import Signature
from models.tensor import Array, TensorSpec

INPUT, OUTPUT = "input", "output"
NAMED = 5


class LightgbmRuntime:
    """A LightGBM model as one input, [rows, features], and one output, [rows] or [rows, classes], both FP64.

    Narrower inputs are widened; FP32 is read as it is. NaN is a missing value. Answers equal those of ``Booster.predict``.
    """

    platform = "lightgbm"
    pure = True

    __slots__ = ("_booster", "feature_names", "notes", "signature")

    def __init__(self, model: ModelText, booster: NativeBooster) -> None:
        self._booster = booster
        self.feature_names = model.features
        self.notes: Sequence[str] = _notes(model)
        results = (-1,) if model.classes == 1 else (-1, model.classes)
        # A file may give two features one name; then none of them tells a column.
        names = model.features if len(set(model.features)) == len(model.features) else ()
        self.signature = Signature(
            inputs=(TensorSpec(INPUT, "FP64", (-1, len(model.features)), widens=True, missing=True, feature_names=names),),
            outputs=(TensorSpec(OUTPUT, "FP64", results),),
        )

    @classmethod
    def load(cls, path: Path, *, threads: int = 1) -> LightgbmRuntime:
        """Checks the file's structure, tries it in a child process and loads it.

        ``threads``: how many may share the rows of a large call. Raises LoadError.
        """
        if threads < 1:
            raise LoadError(f"threads is {threads} for {path.name}, expected at least 1")
        try:
            with open_plain(path) as file:
                text = file.read()
        except NotPlain as error:
            raise LoadError(f"{path.name} is a symbolic link, or no file at all: put the file itself there") from error
        except OSError as error:
            raise LoadError(f"{path.name} cannot be read: {error.strerror or type(error).__name__}") from error
        try:
            model = read_model_text(text)
            try_model_text(text, library_path())
            return cls(model, NativeBooster(text, model, threads))
        except LoadError as error:
            raise LoadError(f"{path.name} is no model that LightGBM can serve: {error}") from error.__cause__

    def infer(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        """The one output, rows first. Raises InferenceError where LightGBM fails or the model is closed."""
        rows = inputs.get(INPUT)
        if rows is None:
            raise InferenceError(f"the model takes one tensor, {INPUT}, got {', '.join(inputs) or 'none'}")
        return {OUTPUT: self._booster.predict(rows)}

    def close(self) -> None:
        """Frees the model once no call runs."""
        self._booster.close()


def _notes(model: ModelText) -> tuple[str, ...]:
    objective = (
        f"objective {model.objective.split()[0]}" if model.objective else "a custom objective, so the output is the raw score"
    )
    classes = f", {model.classes} classes" if model.classes > 1 else ""
    trees = "1 tree" if model.trees == 1 else f"{model.trees} trees"
    notes = [f"{trees} of {len(model.features)} features{classes}; {objective}."]
    if model.linear:
        notes.append("The trees are linear: a row that lacks a value its leaf needs gets the leaf's plain value.")
    if not model.trees:
        notes.append("The model has no trees, so it answers every row alike.")
    if model.categorical:
        names = ", ".join(model.categorical[:NAMED]) + (", ..." if len(model.categorical) > NAMED else "")
        notes.append(f"Categorical features are sent as whole numbers, as in training: {names}.")
    if model.pandas_columns:
        notes.append(
            f"Columns that held pandas categories in training ({model.pandas_columns}) take each value's integer code, "
            "its place among the training categories, and NaN for any other value."
        )
    return tuple(notes)
