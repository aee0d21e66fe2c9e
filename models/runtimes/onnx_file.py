"""What an ONNX file says of itself, read before ONNX Runtime touches it.

A model is one protobuf message (onnx/onnx.proto, `ModelProto`). Only its skeleton is walked: weights are skipped by their
length, through a memory map, so that a file of gigabytes costs what its nodes cost. Walking it here, rather than asking
ONNX Runtime, lets us name what is missing, and refuse data files that older releases would read from anywhere on disk, or
that name an address in memory (`*/_ORT_MEM_ADDR_/*`).
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from models.errors import LoadError
from models.plain_file import NotPlain, open_plain

# Message -> field number -> the message it holds; what is not listed is skipped. Field numbers as in onnx.proto.
_MESSAGES: Mapping[str, Mapping[int, str]] = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node"},
    "Graph": {1: "Node", 5: "Tensor", 11: "Input", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
}
_FREE = 1 << 63  # as a varint has it, the least of the negative numbers
_DEEPEST = 100  # protobuf's own limit on nesting
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """``shapeless``: inputs whose rank the graph does not tell; ``operators``: the op types of all nodes.

    ``row_elements``: how many elements of all inputs make one row; None where callers may choose more than the number of rows.
    """

    operators: frozenset[str]
    data_files: frozenset[str]
    shapeless: frozenset[str]
    row_elements: int | None


class _MalformedError(Exception):
    """The bytes are not a protobuf message."""


@dataclass(slots=True)
class _Found:
    operators: set[str] = field(default_factory=set)
    data_files: set[str] = field(default_factory=set)
    shapeless: set[str] = field(default_factory=set)
    row_elements: list[int | None] = field(default_factory=list)  # of each input
    graphs: int = 0


def read(path: Path) -> OnnxFile:
    """Reads the file's skeleton, and checks that its data files lie beside it. Raises LoadError."""
    try:
        with open_plain(path) as file:
            found = _walk(file)
    except NotPlain as error:
        sentence = f"{path.name} is a symbolic link, or no file at all: put the file itself into the version's folder"
        raise LoadError(sentence) from error
    except OSError as error:
        raise LoadError(f"{path.name} cannot be read: {error.strerror}") from error
    except _MalformedError as error:
        sentence = f"{path.name} is not an ONNX file, or was cut short: copy it again, or export the model anew"
        raise LoadError(sentence) from error
    if not found.graphs:
        raise LoadError(f"{path.name} holds no graph, so it is empty, cut short, or not an ONNX file: copy or export it again")
    for location in sorted(found.data_files):
        _check_data_file(path.parent, location)
    fixed = [elements for elements in found.row_elements if elements is not None]
    row_elements = sum(fixed) if len(fixed) == len(found.row_elements) else None
    return OnnxFile(frozenset(found.operators), frozenset(found.data_files), frozenset(found.shapeless), row_elements)


def _check_data_file(folder: Path, location: str) -> None:
    parts = PurePosixPath(location).parts
    if not parts or PurePosixPath(location).is_absolute() or ".." in parts or "\\" in location or "\0" in location:
        raise LoadError("the model keeps weights in a file outside its version's folder: save it with its data file beside it")
    place = folder
    for part in parts:
        place /= part
        if place.is_symlink():
            raise LoadError(f"the data file {location!r} is a symbolic link: put the file itself into the version's folder")
    if not place.is_file():
        raise LoadError(f"the data file {location!r}, which holds weights of the model, is missing: put it beside the model")


def _walk(file: BinaryIO) -> _Found:
    found = _Found()
    if os.fstat(file.fileno()).st_size:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            _visit(data, "Model", 0, len(data), found, 0)
    return found


def _visit(data: mmap.mmap, message: str, start: int, end: int, found: _Found, depth: int) -> None:
    if depth > _DEEPEST:
        raise _MalformedError("nested too deeply")
    if message == "Tensor":
        found.data_files |= _locations(data, start, end)
        return
    if message == "Input":
        name, has_shape, row_elements = _input(data, start, end)
        if depth == 2:
            found.row_elements.append(row_elements)
            if not has_shape:
                found.shapeless.add(name)
        return
    children = _MESSAGES[message]
    for number, wire, first, last in _fields(data, start, end):
        if number in children and wire == _LENGTH:
            found.graphs += message == "Model" and number == 7
            _visit(data, children[number], first, last, found, depth + 1)
        elif message == "Node" and number == 4 and wire == _LENGTH:
            found.operators.add(_text(data, first, last))


def _locations(data: mmap.mmap, start: int, end: int) -> set[str]:
    """Where a TensorProto keeps its values, if that is outside the file. Should it say so twice, every place counts."""
    places: set[str] = set()
    external = False
    for number, wire, first, last in _fields(data, start, end):
        if number == 14 and wire == _VARINT:
            external |= bool(first)
        elif number == 13 and wire == _LENGTH:
            entry = list(_fields(data, first, last))
            keys = {_text(data, a, b) for field_number, kind, a, b in entry if (field_number, kind) == (1, _LENGTH)}
            if "location" in keys:
                places |= {_text(data, a, b) for field_number, kind, a, b in entry if (field_number, kind) == (2, _LENGTH)}
    return places if external else set()


def _input(data: mmap.mmap, start: int, end: int) -> tuple[str, bool, int | None]:
    """A ValueInfoProto's name, whether its tensor type tells a shape (type 2, tensor_type 1, shape 2), and its row's elements."""
    name, has_shape, tensors = "", False, False
    row_elements: int | None = None
    for number, wire, first, last in _fields(data, start, end):
        if (number, wire) == (1, _LENGTH):
            name = _text(data, first, last)
        elif (number, wire) == (2, _LENGTH):
            for kind, kind_wire, a, b in _fields(data, first, last):
                if (kind, kind_wire) == (1, _LENGTH):
                    tensors = True
                    for inner, inner_wire, shape, after in _fields(data, a, b):
                        if (inner, inner_wire) == (2, _LENGTH):
                            has_shape, row_elements = True, _row_elements(data, shape, after)
    return name, has_shape or not tensors, row_elements


def _row_elements(data: mmap.mmap, start: int, end: int) -> int | None:
    """The product of a TensorShapeProto's dims (1) past the first; None where one has no value (1), or one of 0 or less."""
    elements = 1
    dims = [(first, last) for number, wire, first, last in _fields(data, start, end) if (number, wire) == (1, _LENGTH)]
    for first, last in dims[1:]:
        values = [value for number, wire, value, _ in _fields(data, first, last) if (number, wire) == (1, _VARINT)]
        if not values or not 0 < values[-1] < _FREE:
            return None
        elements *= values[-1]
    return elements


def _text(data: mmap.mmap, start: int, end: int) -> str:
    return data[start:end].decode("utf-8", "replace")


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Number, wire type, then the value of a varint and 0, or where the field's bytes start and end."""
    at = start
    while at < end:
        tag, at = _varint(data, at, end)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(data, at, end)
            yield number, wire, value, 0
            continue
        if wire == _LENGTH:
            size, at = _varint(data, at, end)
        elif wire in (_EIGHT_BYTES, _FOUR_BYTES):
            size = 8 if wire == _EIGHT_BYTES else 4
        else:
            raise _MalformedError(f"wire type {wire}")
        if number == 0 or size > end - at:
            raise _MalformedError(f"field {number} of {size} bytes, {end - at} are left")
        yield number, wire, at, at + size
        at += size


def _varint(data: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _MalformedError("a varint without an end")
