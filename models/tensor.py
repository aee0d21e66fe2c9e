"""The Open Inference Protocol's datatypes, and what numpy calls them.

BYTES is an object array whose elements are ``bytes``; BF16 is ml_dtypes' bfloat16, since numpy has none of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import index
from types import MappingProxyType
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

DTYPES: Mapping[str, np.dtype[Any]] = MappingProxyType(
    {
        "BOOL": np.dtype(np.bool_),
        "UINT8": np.dtype(np.uint8),
        "UINT16": np.dtype(np.uint16),
        "UINT32": np.dtype(np.uint32),
        "UINT64": np.dtype(np.uint64),
        "INT8": np.dtype(np.int8),
        "INT16": np.dtype(np.int16),
        "INT32": np.dtype(np.int32),
        "INT64": np.dtype(np.int64),
        "FP16": np.dtype(np.float16),
        "FP32": np.dtype(np.float32),
        "FP64": np.dtype(np.float64),
        "BF16": np.dtype(ml_dtypes.bfloat16),
        "BYTES": np.dtype(object),
    }
)
DATATYPES: Mapping[np.dtype[Any], str] = MappingProxyType({dtype: name for name, dtype in DTYPES.items()})
INTEGERS = frozenset({"UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"})
FLOATS = frozenset({"FP16", "FP32", "FP64", "BF16"})


#: Names that an error lists; a model may have thousands.
LISTED = 30


def listed(names: Sequence[str]) -> str:
    """Names as a sentence lists them, the first LISTED."""
    return ", ".join(names[:LISTED]) + ", ..." * (len(names) > LISTED)


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor that a model takes or gives.

    ``shape``: a dim of -1 is free. ``optional``: an input that may be left out. ``uniform``: an input all of whose rows
    must be the same within a call (such as a recommender's ``k``), so requests that differ in it never share a batch.
    ``widens``: any datatype that numpy casts safely to this one is taken too, BYTES excepted. ``missing``: NaN is a value that
    is missing, so JSON's null is one too. ``feature_names``: what the values of the last dim are called, in their order, where they
    have names. Raises ValueError where the description makes no sense.
    """

    name: str
    datatype: str
    shape: Sequence[int]
    optional: bool = False
    uniform: bool = False
    widens: bool = False
    missing: bool = False
    feature_names: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"a tensor's name is a string of at least one character, not {self.name!r}")
        try:
            object.__setattr__(self, "shape", tuple(index(dim) for dim in self.shape))
        except TypeError:
            raise ValueError(f"tensor {self.name!r} has shape {self.shape!r}; expected whole numbers, such as [-1, 32]") from None
        if self.datatype not in DTYPES:
            raise ValueError(f"tensor {self.name!r} has datatype {self.datatype!r}; expected one of {', '.join(DTYPES)}")
        if any(dim < -1 for dim in self.shape):
            raise ValueError(f"tensor {self.name!r} has shape {list(self.shape)}; a dim is at least 0, or -1 where it is free")
        if self.missing and self.datatype not in FLOATS:
            raise ValueError(f"tensor {self.name!r} is {self.datatype}, which has no NaN for what is missing; expected floats")
        self._check_feature_names()

    def _check_feature_names(self) -> None:
        names = self.feature_names
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) and name for name in names):
            raise ValueError(f"tensor {self.name!r} has feature_names {names!r}; expected a list of strings")
        object.__setattr__(self, "feature_names", tuple(names))
        if not names:
            return
        if len(self.shape) < 2 or self.shape[-1] != len(names):
            raise ValueError(
                f"tensor {self.name!r} has {len(names)} feature_names and shape {list(self.shape)}; its last dim is their number"
            )
        if twice := [name for name, times in Counter(names).items() if times > 1]:
            raise ValueError(f"tensor {self.name!r} has two features named {twice[0]!r}; name each by itself, or none")

    @property
    def dtype(self) -> np.dtype[Any]:
        """The numpy dtype of the tensor's elements."""
        return DTYPES[self.datatype]
