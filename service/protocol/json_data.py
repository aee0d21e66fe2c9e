"""JSON arrays to tensors and back.

JSON is the narrower side: it has no NaN, no Infinity and no bytes, so what it cannot say is refused, never bent. Each
datatype has its own typed decoder, which checks ranges while it parses; what exactly was wrong is asked only once it failed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from itertools import chain
from math import prod
from types import GenericAlias
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import orjson

from models.errors import InferenceError, InvalidInput, Problem
from models.tensor import DATATYPES, DTYPES, FLOATS, INTEGERS, Array
from service.errors import BadRequest, NotFinite, ServiceError

# From this half-way point on, rounding to the nearest FP32 gives Infinity.
FP32_END = 2.0**128 - 2.0**103
_MOST_DIMS = 64  # what numpy can hold
_LONGEST = 60  # characters of a caller's text that an error repeats
_OPENING = re.compile(rb"[\s\[]*")
_WHERE = re.compile(r" - at `\$(?P<where>.*)`$", re.DOTALL)
_STEP = re.compile(r"\[(\d+|\.\.\.)\]|([^.\[\]]+)")


def to_array(
    raw: msgspec.Raw | bytes,
    datatype: str,
    shape: Sequence[int] | None,
    path: str,
    *,
    non_finite: bool = False,
    missing: bool = False,
) -> Array:
    """The tensor that a JSON array says, flat or nested as ``shape``; a shape of None is read from the nesting.

    ``path`` is where the array lies in the request. ``non_finite`` takes the strings "NaN", "Infinity" and "-Infinity" as
    floats, ``missing`` null as NaN. Raises InvalidInput for values that do not fit, BadRequest for what is not JSON.
    """
    if shape is None:
        return _nested(raw, datatype, None, path, non_finite, missing)
    decoder, dtype = _FLAT[datatype]
    if non_finite:
        decoder = _decoder(datatype, 1, True, missing)
    try:
        values = decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        if not missing:
            return _nested(raw, datatype, shape, path, non_finite)
        try:  # only now, so that rows without a null are read as quickly as ever
            values = _decoder(datatype, 1, non_finite, True).decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return _nested(raw, datatype, shape, path, non_finite, True)
    count = len(values)
    if len(shape) > _MOST_DIMS or prod(shape) != count:
        raise InvalidInput(
            Problem(path, "the shape has another number of elements", f"{_count(shape)} for {clip(list(shape))}", str(count))
        )
    array = _array(values, datatype, path) if dtype is None else np.array(values, dtype)
    return array if len(shape) == 1 else shaped(array, shape, path)


def encode_array(array: Array, name: str, *, non_finite: bool = False) -> bytes:
    """The JSON array of the tensor ``name``, nested as its shape; every float reads back as itself.

    Raises NotFinite for NaN and Infinity unless ``non_finite`` writes them as strings, BadRequest for BYTES that are not UTF-8
    (JSON can say neither, the binary form both), and InferenceError for what no datatype of the protocol is.
    """
    try:
        text = orjson.dumps(array, None, orjson.OPT_SERIALIZE_NUMPY)
    except TypeError:
        if array.dtype.kind == "O":
            return _encode_bytes(array, name)
        text = orjson.dumps(_plain(array, name), None, orjson.OPT_SERIALIZE_NUMPY)
        text = text if array.shape else text[1:-1]
    # orjson writes null for what JSON has no number for, and searching the text costs less than asking numpy.
    if b"n" not in text:
        return text
    if not non_finite:
        raise NotFinite(
            f"Output {clip(name)} holds NaN or Infinity, which JSON cannot say: ask for it in binary, "
            'or set the request\'s parameter "non_finite" to "string".'
        )
    odd = iter(array[~np.isfinite(array)].astype(np.float64).tolist())
    return re.sub(rb"null", lambda _: _SPELLED[str(next(odd))], text)


def shaped(array: Array, shape: Sequence[int], path: str) -> Array:
    """The array in another shape of as many elements, without a copy. Raises InvalidInput where numpy has no such shape."""
    try:
        return array.reshape(shape)
    except (ValueError, OverflowError):  # more dims, or larger ones beside a dim of 0, than numpy can hold
        raise InvalidInput(
            Problem(path, "no array can have this shape", f"at most {_MOST_DIMS} dims and 2**63 bytes", clip(shape))
        ) from None


def found_at(raw: msgspec.Raw | bytes, where: str) -> str:
    """What stands at that place, such as `inputs[0].shape`, of a JSON text, clipped; nothing where that cannot be told."""
    found = bytes(raw)
    try:
        for index, key in _STEP.findall(where):
            if index == "...":  # the parser does not say which of an object's keys
                return ""
            if index:
                found = bytes(msgspec.json.decode(found, type=list[msgspec.Raw])[int(index)])
            else:
                found = bytes(msgspec.json.decode(found, type=dict[str, msgspec.Raw])[key])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, LookupError):
        return ""
    return clip(found.decode(errors="replace"))


def clip(value: object) -> str:
    """A caller's value as an error may repeat it."""
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


_SPELLED = {"nan": b'"NaN"', "inf": b'"Infinity"', "-inf": b'"-Infinity"'}


def element(datatype: str, non_finite: bool = False, missing: bool = False) -> Any:
    if datatype == "BOOL":
        return bool
    if datatype == "BYTES":
        return str
    if datatype == "UINT64":
        return Annotated[int, msgspec.Meta(ge=0)]  # msgspec's bounds end at 2**63 - 1: numpy checks the upper one
    if datatype in INTEGERS:
        return Annotated[int, msgspec.Meta(ge=int(np.iinfo(DTYPES[datatype]).min), le=int(np.iinfo(DTYPES[datatype]).max))]
    number: Any = Annotated[float, msgspec.Meta(gt=-FP32_END, lt=FP32_END)] if datatype == "FP32" else float
    if non_finite:
        number = number | Literal["NaN", "Infinity", "-Infinity"]
    return number | None if missing else number  # numpy makes NaN of None


@cache
def _decoder(datatype: str, depth: int, non_finite: bool, missing: bool = False) -> msgspec.json.Decoder[Any]:
    nest: Any = element(datatype, non_finite, missing)
    for _ in range(depth):
        nest = GenericAlias(list, nest)
    return msgspec.json.Decoder(nest)


# The dtype is None where a list of values in range may still not be the tensor.
_FLAT = {
    datatype: (_decoder(datatype, 1, False), None if datatype in ("BYTES", "UINT64", "FP16", "BF16") else dtype)
    for datatype, dtype in DTYPES.items()
}


_NAN_GOES = '; NaN goes to /v2/models/M/infer, in binary, or as "NaN" with "parameters": {"non_finite": "string"}'


def _expected(datatype: str, non_finite: bool, missing: bool = False) -> str:
    if datatype == "BOOL":
        return "true or false"
    if datatype == "BYTES":
        return "a string"
    if datatype in INTEGERS:
        return f"an integer from {np.iinfo(DTYPES[datatype]).min} to {np.iinfo(DTYPES[datatype]).max}"
    spelled = ', or "NaN", "Infinity" or "-Infinity"' * non_finite
    return f"a number in the range of {datatype}" + spelled + ", or null for a missing value" * missing


def _nested(
    raw: msgspec.Raw | bytes, datatype: str, shape: Sequence[int] | None, path: str, non_finite: bool, missing: bool = False
) -> Array:
    opening = _OPENING.match(raw)
    depth = opening.group().count(b"[") if opening else 0
    if depth > _MOST_DIMS:
        raise InvalidInput(Problem(path, "the data is nested too deep", f"at most {_MOST_DIMS} levels", f"{depth} levels"))
    if shape is not None and depth > 1 and depth != len(shape):
        levels = f"a flat list, or {len(shape)} levels as in the shape" if len(shape) > 1 else "a flat list"
        raise InvalidInput(Problem(path, "the data is not nested as its shape", levels, f"{depth} levels"))
    try:
        values = _decoder(datatype, depth if shape is None else max(depth, 1), non_finite, missing).decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _refusal(error, raw, datatype, path, non_finite, missing) from None
    dtype = _FLAT[datatype][1]
    if dtype is not None and depth > 1:
        with suppress(ValueError):  # ragged, which is told below
            array = np.array(values, dtype)
            if shape is None or list(shape) == list(array.shape):
                return array
    if depth == 0:
        return _array([values], datatype, path).reshape(())
    dims = [len(values)]
    for _ in range(depth - 1):
        lengths = {len(row) for row in values}
        if len(lengths) > 1:
            raise InvalidInput(
                Problem(path, "the data is ragged", "rows of one length", f"lengths {min(lengths)} to {max(lengths)}")
            )
        dims.append(lengths.pop() if lengths else 0)
        values = list(chain.from_iterable(values))
    if shape is not None and list(shape) != dims:
        raise InvalidInput(Problem(path, "the data is not nested as its shape", clip(list(shape)), clip(dims)))
    return shaped(_array(values, datatype, path), dims, path)


def _array(values: list[Any], datatype: str, path: str) -> Array:
    if datatype == "BYTES":
        return np.array([value.encode() for value in values], object)
    try:
        if datatype not in ("FP16", "BF16"):
            return np.array(values, DTYPES[datatype])
    except OverflowError:
        at = next(index for index, value in enumerate(values) if value >= 2**64)
    else:
        wide = np.array(values, np.float64)
        with np.errstate(over="ignore"):
            narrow = wide.astype(DTYPES[datatype])
        lost = np.isfinite(wide) & ~np.isfinite(narrow)
        if not lost.any():
            return narrow
        at = int(lost.argmax())
    raise InvalidInput(Problem(f"{path}[{at}]", f"not a value of {datatype}", _expected(datatype, False), clip(values[at])))


def _count(shape: Sequence[int]) -> str:
    if len(shape) > _MOST_DIMS:
        return f"at most {_MOST_DIMS} dims"
    total = prod(shape)
    return str(total) if total < 2**63 else "more than 2**63"


def _refusal(
    error: Exception, raw: msgspec.Raw | bytes, datatype: str, path: str, non_finite: bool, missing: bool
) -> InvalidInput | ServiceError:
    if not isinstance(error, msgspec.ValidationError):
        return BadRequest(f"{path} is not JSON in UTF-8: {error}")
    found = _WHERE.search(str(error))
    where = found["where"] if found else ""
    value = found_at(raw, where)
    if str(error).startswith("Expected `array`"):
        return InvalidInput(Problem(path + where, "not an array", "an array", value))
    problem = f"not a value of {datatype}"
    if value == "null" and datatype in FLOATS and not (non_finite or missing):
        problem += _NAN_GOES
    return InvalidInput(Problem(path + where, problem, _expected(datatype, non_finite, missing), value))


def _plain(array: Array, name: str) -> Array:
    """The array as orjson reads it: contiguous, in the machine's byte order, with dims, of a dtype that it knows."""
    native = array.dtype.newbyteorder("=")
    if native not in DATATYPES:
        raise InferenceError(f"Output {clip(name)} is of numpy's dtype {array.dtype}, which is none of the protocol's datatypes.")
    return np.atleast_1d(array.astype(np.float32 if native == DTYPES["BF16"] else native, order="C"))


def _encode_bytes(array: Array, name: str) -> bytes:
    texts = np.empty(array.size, object)
    for index, value in enumerate(array.ravel()):
        if not isinstance(value, bytes | str):
            raise InferenceError(f"Output {clip(name)} holds {type(value).__name__} where bytes are expected.")
        try:
            texts[index] = value.decode() if isinstance(value, bytes) else value
        except UnicodeDecodeError:
            raise BadRequest(
                f"Output {clip(name)} holds bytes that are not UTF-8, which JSON cannot say: ask for it in binary."
            ) from None
    try:
        return orjson.dumps(texts.reshape(array.shape).tolist())
    except TypeError:
        raise InferenceError(f"Output {clip(name)} holds a string with a lone surrogate, which is no text.") from None
