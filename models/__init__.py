"""What a model is, where it lies, how it is loaded, run and versioned. Knows nothing of HTTP or of batching."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.errors import (
        BadImage,
        ImageError,
        ImageTooLarge,
        InferenceError,
        InvalidInput,
        LoadError,
        ModelError,
        NotAnImage,
        NotReady,
        Problem,
        UnknownModel,
        UnknownVersion,
    )
    from models.python_model import PythonModel
    from models.signature import Signature
    from models.tensor import Array, TensorSpec

__all__ = [
    "Array",
    "BadImage",
    "ImageError",
    "ImageTooLarge",
    "InferenceError",
    "InvalidInput",
    "LoadError",
    "ModelError",
    "NotAnImage",
    "NotReady",
    "Problem",
    "PythonModel",
    "Signature",
    "TensorSpec",
    "UnknownModel",
    "UnknownVersion",
]

# From 1.29 on ONNX Runtime's packages report each process and model to their maker, and leave a device's id in the home directory.
# A server tells nobody of its own accord; only what is set before its import keeps all of it back. Who wants it sets 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_WHERE = {
    **dict.fromkeys(__all__, "models.errors"),
    "PythonModel": "models.python_model",
    "Signature": "models.signature",
    "Array": "models.tensor",
    "TensorSpec": "models.tensor",
}


def __getattr__(name: str) -> object:
    """Imported when asked for: who only wants to know what can be wrong, as the supervisor does, needs no numpy."""
    where = _WHERE.get(name)
    if where is None:
        raise AttributeError(f"module 'models' has no attribute {name!r}")
    found = getattr(importlib.import_module(where), name)
    globals()[name] = found
    return found
