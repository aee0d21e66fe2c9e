"""What a model is, where it lies, how it is loaded, run and versioned. Knows nothing of HTTP or of batching."""

from models.errors import (
    InferenceError,
    InvalidInput,
    LoadError,
    ModelError,
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
    "InferenceError",
    "InvalidInput",
    "LoadError",
    "ModelError",
    "NotReady",
    "Problem",
    "PythonModel",
    "Signature",
    "TensorSpec",
    "UnknownModel",
    "UnknownVersion",
]
