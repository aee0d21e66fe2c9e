"""The JSON of a tensor: its elements' ranges, and the nesting that its shape makes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from models.tensor import DTYPES, FLOATS, TensorSpec
from service.openapi.schema import BOOLEAN, COUNT, Json, array, either, record

#: JSON has none of these: they travel in binary, or widened where the protocol does not name the datatype.
BINARY_ONLY = frozenset({"FP16", "BF16"})
#: From these half-way points on, rounding to the nearest gives Infinity; below them a number is taken, and rounded.
_ENDS = {"FP16": 65520.0, "BF16": 2.0**128 - 2.0**119, "FP32": 2.0**128 - 2.0**103, "FP64": float("inf")}
_FORMATS = {"FP32": "float", "FP64": "double", "INT8": "int8", "INT16": "int16", "INT32": "int32", "INT64": "int64"}
NOT_FINITE: Json = {"enum": ["NaN", "Infinity", "-Infinity"]}
BASE64: Json = {
    "type": "string",
    "contentEncoding": "base64",
    "pattern": "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
}
B64 = record({"b64": BASE64}, closed=True)


def element(datatype: str) -> Json:
    """One element of a request, with the range that its datatype has."""
    if datatype in FLOATS:
        end = float(np.nextafter(_ENDS[datatype], 0))
        return {**given(datatype), "minimum": -end, "maximum": end}
    return given(datatype)


def given(datatype: str) -> Json:
    """One element of an answer. A float's shortest digits may, read as a double, lie a little beyond the datatype's largest."""
    if datatype == "BOOL":
        return BOOLEAN
    if datatype == "BYTES":
        return {"type": "string"}
    format_ = {"format": _FORMATS[datatype]} if datatype in _FORMATS else {}
    if datatype in FLOATS:
        return {"type": "number", **format_}
    range_ = np.iinfo(DTYPES[datatype])
    return {"type": "integer", **format_, "minimum": int(range_.min), "maximum": int(range_.max)}


def nested(items: Json, shape: Sequence[int]) -> Json:
    """Arrays in arrays as the shape says; a free dim has any length."""
    for dim in reversed(shape):
        items = array(items, None if dim == -1 else dim)
    return items


def shape_asked(spec: TensorSpec, batched: bool) -> Json:
    """What may stand in a request's `shape`; ``batched``: its first dim counts rows, of which there is one at least."""
    dims: list[Json] = [{"const": dim} if dim != -1 else COUNT for dim in spec.shape]
    if not dims:
        return {"type": "array", "maxItems": 0}
    if batched:
        dims[0] = {**COUNT, "minimum": 1}
    return {"type": "array", "prefixItems": dims, "minItems": len(dims), "maxItems": len(dims)}


def shape_given(spec: TensorSpec) -> Json:
    """What may stand in an answer's `shape`. Not by `prefixItems`, which some readers of 3.1 know in requests alone."""
    if -1 not in spec.shape:
        return {"const": list(spec.shape)}
    return array(COUNT, len(spec.shape), description=f"As {list(spec.shape)}; -1 is any.")


def flat(items: Json, spec: TensorSpec) -> Json:
    """The elements row by row in one array; as many as the shape has where all its dims are fixed."""
    return array(items, None if -1 in spec.shape else prod(spec.shape))


def widened(spec: TensorSpec) -> list[str]:
    """The datatypes that a request may give this input in, its own first."""
    if not spec.widens or spec.datatype == "BYTES":
        return [spec.datatype]
    safe = [name for name, dtype in DTYPES.items() if name != "BYTES" and np.can_cast(dtype, spec.dtype, "safe")]
    return [spec.datatype, *(name for name in safe if name != spec.datatype)]


def oip_input(spec: TensorSpec, batched: bool) -> Json:
    """One of a request's `inputs`, its data in JSON. Raises ValueError for a datatype that has none."""
    datatypes = [name for name in widened(spec) if name not in BINARY_ONLY]
    if not datatypes:
        raise ValueError(f"{spec.datatype} does not travel in JSON")
    tensors = [_tensor(spec, name, batched) for name in datatypes]
    return tensors[0] if len(tensors) == 1 else {"anyOf": tensors, "title": spec.name}


def oip_output(spec: TensorSpec, batched: bool) -> Json:
    """One of an answer's `outputs`. What a request may ask of it — classes, spelled NaN — makes other forms than the plain one."""
    name: Json = {"const": spec.name}
    forms: list[Json] = []
    if spec.datatype not in BINARY_ONLY:
        items = given(spec.datatype)
        if spec.datatype in FLOATS:
            items = either(items, NOT_FINITE)
        fields = {"name": name, "datatype": {"const": spec.datatype}, "shape": shape_given(spec), "data": flat(items, spec)}
        forms.append(record(fields, title=spec.name))
    if spec.datatype != "BYTES":
        ranked: dict[str, Json] = {"name": name, "datatype": {"const": "BYTES"}}
        ranked |= {"shape": array({"type": "integer"}, 2 if batched else 1), "data": array({"type": "string"})}
        forms.append(
            record(
                ranked,
                title=f"{spec.name}, ranked",
                description='What `classification` asks for: "value:index", with ":label" where the model has labels.',
            )
        )
    return either(*forms)


def row_value(spec: TensorSpec) -> Json:
    """One row of an input in TensorFlow Serving's form."""
    return nested(_plain(spec), spec.shape[1:])


def column_value(spec: TensorSpec, batched: bool) -> Json:
    """A whole input in TensorFlow Serving's form."""
    made = nested(_plain(spec), spec.shape)
    return {**made, "minItems": 1} if batched else made


def answered(spec: TensorSpec, shape: Sequence[int]) -> Json:
    """An output, or a row of it, in TensorFlow Serving's form."""
    return nested(either(given("BYTES"), B64) if spec.datatype == "BYTES" else given(spec.datatype), shape)


def _plain(spec: TensorSpec) -> Json:
    return either(element("BYTES"), B64) if spec.datatype == "BYTES" else _element(spec, spec.datatype)


def _element(spec: TensorSpec, datatype: str) -> Json:
    """One element of a request for that input, in that datatype; null where it says that a value is missing."""
    made = element(datatype)
    return {**made, "type": [made["type"], "null"]} if spec.missing and datatype in FLOATS else made


def _tensor(spec: TensorSpec, datatype: str, batched: bool) -> Json:
    items = _element(spec, datatype)
    data = [flat(items, spec)]
    if len(spec.shape) > 1:
        data.append(nested(items, spec.shape))
    fields: dict[str, Json] = {"name": {"const": spec.name}, "datatype": {"const": datatype}}
    fields |= {"shape": shape_asked(spec, batched), "data": either(*data)}
    return record(fields, title=spec.name if datatype == spec.datatype else f"{spec.name}, as {datatype}")
