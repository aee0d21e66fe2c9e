"""From a version's file to a runtime that is warm.

Runtimes are imported when their first model is loaded: a repository of LightGBM models never pays for ONNX Runtime, nor one
without images for their decoders.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from dataclasses import replace
from math import prod

import numpy as np

from models.blame import told
from models.errors import BrokenDescription, LoadError, NotReady
from models.lease import Hold
from models.manifest import Manifest
from models.repository import Source, require_unchanged
from models.runtime import Models, Runtime
from models.tensor import Array, TensorSpec
from models.vision.labels import read_labels
from models.vision.recipe import Recipe, recipe

log = logging.getLogger(__name__)

_MOST_ELEMENTS = 1 << 26  # of one made-up tensor: half a gigabyte of FP64


class Defect(str):
    """A note of what no made-up value excuses: the model answers otherwise than it describes itself, so every request fails."""


def load(source: Source, manifest: Manifest, models: Models) -> Runtime:
    """The version's runtime, not yet warm. Raises LoadError; its cause says what only the operator may see.

    What a runtime opens by its path is looked at before and after: what has been put in its place meanwhile is not served.
    """
    try:
        require_unchanged(source)
        runtime = _open(source, manifest, models)
        try:
            require_unchanged(source, loaded=True)
        except LoadError:
            runtime.close()
            raise
        return runtime
    except LoadError as error:
        raise _did_not(source, error) from (error.__cause__ or error)
    except Exception as error:
        sentence = f"model {source.model!r} version {source.version} did not load: {told(error)}"
        raise LoadError(sentence) from error


def recipe_of(source: Source, manifest: Manifest, runtime: Runtime) -> Recipe | None:
    """How images become the version's input; None where ``model.toml`` has no ``[image]``. Raises LoadError; the runtime is closed
    then."""
    if manifest.image is None:
        return None
    try:
        labels = () if source.labels is None else read_labels(source.labels)
        found = recipe(manifest.image, runtime.signature, labels)
    except LoadError as error:
        Hold(runtime).retire()  # closes it, whatever it raises then
        raise _did_not(source, error) from (error.__cause__ or error)
    importlib.import_module("models.vision.prepare")  # Pillow's decoders, which the first image is not to wait for
    return found


def _did_not(source: Source, error: LoadError) -> LoadError:
    return LoadError(f"model {source.model!r} version {source.version} did not load: {error}")


def _open(source: Source, manifest: Manifest, models: Models) -> Runtime:
    settings = manifest.runtime
    if source.platform == "onnxruntime_onnx":
        from models.runtimes.onnx import OnnxRuntime

        return OnnxRuntime.load(source.path, threads=settings.threads, providers=settings.providers)
    if source.platform == "lightgbm":
        from models.runtimes.lightgbm import LightgbmRuntime

        return LightgbmRuntime.load(source.path, threads=settings.threads)
    if source.platform == "python":
        from models.runtimes.python import PythonRuntime

        return PythonRuntime.load(source.path, models)
    raise LoadError(f"there is no runtime for the platform {source.platform!r}")


def warm_up(runtime: Runtime, manifest: Manifest, recipe: Recipe | None = None) -> tuple[str, ...]:
    """Calls the model at 1 row and at ``max_rows`` rows, of images' size where it takes them; a note for the operator if it fails.

    A failure is no proof of a defect, since a model may rightly dislike made-up values, so it never stops the model from
    serving; that it broke its own description is one, and its note a Defect. NotReady is raised when another
    model, which this one calls, was not ready.
    """
    signature = runtime.signature
    sizes = dict.fromkeys((1, manifest.batching.max_rows)) if signature.batched else (1,)
    for rows in sizes:
        try:
            inputs = made_up(_sized(signature.inputs, recipe), rows)
            for _ in range(manifest.warmup.calls):
                runtime.infer(inputs, signature.output_names)
        except NotReady:
            raise
        except Exception as error:
            log.debug("a warm-up failed", exc_info=error)
            kind = Defect if isinstance(error, BrokenDescription) else str
            return (
                kind(f"warm-up with made-up values at {rows} row{'s' * (rows > 1)} failed, it serves nevertheless: {told(error)}"),
            )
    return ()


def _sized(specs: tuple[TensorSpec, ...], recipe: Recipe | None) -> tuple[TensorSpec, ...]:
    """The inputs as they will be called: that of the image in its size, where the model itself leaves it free."""
    if recipe is None or recipe.shape is None:
        return specs
    sized = replace(recipe.spec, shape=(recipe.spec.shape[0], *recipe.shape))
    return tuple(sized if spec.name == sized.name else spec for spec in specs)


def made_up(specs: tuple[TensorSpec, ...], rows: int) -> Mapping[str, Array]:
    """Zeros, or empty bytes, for each input that must be given; free dims beyond the rows are 1."""
    needed = tuple(spec for spec in specs if not spec.optional) or specs[:1]
    widest = max((prod(dim for dim in spec.shape[1:] if dim > 0) for spec in needed), default=1)
    rows = max(1, min(rows, _MOST_ELEMENTS // widest))
    inputs: dict[str, Array] = {}
    for spec in needed:
        shape = [rows if dim == -1 else dim for dim in spec.shape[:1]] + [1 if dim == -1 else dim for dim in spec.shape[1:]]
        inputs[spec.name] = np.full(shape, b"" if spec.datatype == "BYTES" else 0, dtype=spec.dtype)
    return inputs
