"""Whether two answers say the same: numbers within a tolerance, and without what is new in every answer."""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

#: What two answers to one request may differ in: the request's name, and that of the version that answered.
IGNORED: Final = frozenset({"request_id", "model_version"})
#: An answer that inflates to more than this is not read (bytes).
LONGEST: Final = 256 * 1024**2

_FLOATS: Final = {"FP16": "e", "FP32": "f", "FP64": "d"}
_SHOWN: Final = 80


@dataclass(frozen=True, slots=True)
class Body:
    """A body and the headers that say how to read it, names in lower case."""

    data: bytes
    headers: Mapping[str, str]

    def read(self) -> Any:
        """What it says: JSON, with the values of its binary tensors in their places; the bytes themselves where it is neither."""
        try:
            data = self.data
            if self.headers.get("content-encoding", "identity") != "identity":
                stream = zlib.decompressobj(47)  # gzip or zlib
                data = stream.decompress(data, LONGEST)
            length = self.headers.get("inference-header-content-length")
            if length is None:
                return json.loads(data)
            content = json.loads(data[: int(length)])
            return _with_tensors(content, data[int(length) :])
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, zlib.error, struct.error):
            return self.data


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two answers differ; an empty path is all of them."""

    path: str
    expected: str
    got: str

    def __str__(self) -> str:
        return f"{self.path or 'the body'}: {self.expected} then, {self.got} now"


def differences(expected: Any, got: Any, tolerance: float, path: str = "") -> Iterator[Difference]:
    """In the order of the expected answer. Whole numbers are to be equal, others to be within ``tolerance`` of each other: absolute
    below 1, relative above."""
    if isinstance(expected, dict) and isinstance(got, dict):
        for key in {**expected, **got}:
            if path or key not in IGNORED:
                place = f"{path}.{key}" if path else str(key)
                yield from differences(expected.get(key, _ABSENT), got.get(key, _ABSENT), tolerance, place)
    elif isinstance(expected, list) and isinstance(got, list):
        if len(expected) != len(got):
            yield Difference(path, f"{len(expected)} values", f"{len(got)} values")
            return
        for index, (one, other) in enumerate(zip(expected, got, strict=True)):
            yield from differences(one, other, tolerance, f"{path}[{index}]")
    elif not _same(expected, got, tolerance):
        yield Difference(path, _shown(expected), _shown(got))


def _same(expected: Any, got: Any, tolerance: float) -> bool:
    if isinstance(expected, bool) or isinstance(got, bool):
        return expected is got
    if isinstance(expected, int | float) and isinstance(got, int | float):
        if expected == got or (isinstance(expected, int) and isinstance(got, int)):
            return expected == got
        if not (math.isfinite(expected) and math.isfinite(got)):
            return math.isnan(expected) and math.isnan(got)
        return abs(expected - got) <= tolerance * max(1.0, abs(expected), abs(got))
    return type(expected) is type(got) and bool(expected == got)


class _Absent:
    def __repr__(self) -> str:
        return "nothing"


_ABSENT: Final = _Absent()


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, bytes | _Absent) else json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _with_tensors(content: Any, data: bytes) -> Any:
    """The answer with its binary outputs' values: numbers where they are floats, bytes otherwise."""
    at = 0
    for output in content["outputs"]:
        size = (output.get("parameters") or {}).get("binary_data_size")
        if size is None:
            continue
        octets, at = data[at : at + size], at + size
        kind = _FLOATS.get(output["datatype"])
        output["data"] = octets if kind is None else list(struct.unpack(f"<{size // struct.calcsize(kind)}{kind}", octets))
    return content
