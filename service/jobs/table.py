"""CSV as RFC 4180 has it: a header line, then a row a line; fields may stand in quotes, and hold commas and line ends there."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from operator import itemgetter
from typing import Final

import msgspec
import numpy as np

from models.nearest import nearest
from models.signature import Signature
from models.tensor import TensorSpec, listed
from service.errors import BadRequest
from service.jobs.lines import BOM, too_long

_FIELD = re.compile(rb'(?:"([^"]*(?:""[^"]*)*)"|([^",\r\n]*))(,|\r?\n)')
_NUMBER: Final = rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_IS_NUMBER = re.compile(_NUMBER)
_ARE_NUMBERS = re.compile(rb"%b(?:,%b)*" % (_NUMBER, _NUMBER))
_LONGEST_NUMBER: Final = 64
_QUOTE, _LINE_FEED = b'"\n'
_string = msgspec.json.Encoder().encode


class Table:
    """Rows from records, of at most ``most`` bytes each, as the model's signature wants them; blank lines are passed over."""

    def __init__(self, most: int, signature: Signature) -> None:
        self._most = most
        self._signature = signature
        self._held = bytearray()
        self._line = 0
        self._quoted = False
        self._shape: _Shape | None = None

    def feed(self, text: bytes) -> list[bytes]:
        """The rows that are whole by now. Raises BadRequest, naming the line, and BodyTooLarge."""
        held = self._held
        start = len(held)
        held += text
        cut = self._last_end(text)
        if cut < 0:
            if len(held) > self._most:
                raise too_long(f"line {self._line + 1}", self._most)
            return []
        block = bytes(held[: start + cut + 1])
        del held[: start + cut + 1]
        return self._rows(block)

    def close(self) -> list[bytes]:
        """The last row, whose line need not end. Raises BadRequest for a quote that is never closed, or no header at all."""
        if self._quoted:
            raise BadRequest(f"line {self._line + 1} opens a quote that nothing closes; nothing of the job was kept")
        rows = self._rows(bytes(self._held) + b"\n") if self._held else []
        self._held.clear()
        if self._shape is None:
            raise BadRequest("the body has no header line; send the names of the inputs first, then a row a line")
        return rows

    def _last_end(self, text: bytes) -> int:
        """Where the last line ends that a record ends with, in what came last; -1 for nowhere."""
        if b'"' not in text:
            return -1 if self._quoted else text.rfind(b"\n")
        marks = np.frombuffer(text, np.uint8)
        inside = (np.cumsum(marks == _QUOTE, dtype=np.int32) + self._quoted) & 1
        self._quoted = bool(inside[-1])
        ends = np.flatnonzero((marks == _LINE_FEED) & (inside == 0))
        return int(ends[-1]) if ends.size else -1

    def _rows(self, block: bytes) -> list[bytes]:
        if b'"' in block:
            return self._quoted_rows(block)
        rows = []
        for line in block.replace(b"\r\n", b"\n").split(b"\n")[:-1]:
            self._line += 1
            if line and (row := self._row(line, None)) is not None:
                rows.append(row)
        return rows

    def _quoted_rows(self, block: bytes) -> list[bytes]:
        rows = []
        at, fields, length = 0, list[bytes](), 0
        line = self._line + 1
        while at < len(block):
            found = _FIELD.match(block, at)
            if found is None:
                raise BadRequest(
                    f"line {line} is not CSV as RFC 4180 has it: a field with a quote or a bare carriage return stands in quotes,"
                    ' and a quote in it is written ""; nothing of the job was kept'
                )
            length += found.end() - at
            at = found.end()
            fields.append(found[2] if found[1] is None else found[1].replace(b'""', b'"'))
            line += found[0].count(b"\n")
            if found[3] != b",":
                if length > self._most:
                    raise too_long(f"line {self._line + 1}", self._most)
                blank = len(fields) == 1 and not fields[0] and found[1] is None
                self._line += 1
                if not blank and (row := self._row(b"", fields)) is not None:
                    rows.append(row)
                fields, length = [], 0
                self._line = line - 1
        return rows

    def _row(self, line: bytes, fields: list[bytes] | None) -> bytes | None:
        """The row that a record says, from its line or, where it has quotes, its fields; None for the header."""
        shape = self._shape
        if len(line) > self._most:
            raise too_long(f"line {self._line}", self._most)
        if shape is None:
            names = [field.strip() for field in (line.removeprefix(BOM).split(b",") if fields is None else fields)]
            self._shape = _Shape.of(_decoded(names, self._line), self._signature)
            return None
        if fields is None:
            if shape.numeric and line.count(b",") == shape.count - 1 and _ARE_NUMBERS.fullmatch(line):
                if shape.names is not None:
                    return shape.template % tuple(line.split(b","))
                return b"[%b]" % (line if shape.ordered is None else b",".join(shape.ordered(line.split(b","))))
            fields = line.split(b",")
        if len(fields) != shape.count:
            raise BadRequest(
                f"line {self._line} has {len(fields)} fields, and the header has {shape.count}; nothing of the job was kept"
            )
        return shape.row(_decoded(fields, self._line))


class _Shape:
    """What the columns are: inputs by name, or the features of the only input, where ``names`` is None. ``order``: where in
    a record the features stand, None where they stand in their own order."""

    def __init__(self, columns: list[TensorSpec], names: list[bytes] | None, order: Sequence[int] | None = None) -> None:
        self.names = names
        self.ordered = None if order is None else itemgetter(*order)
        self.count = len(columns)
        self.numeric = all(spec.datatype not in ("BYTES", "BOOL") for spec in columns)
        self._columns = columns
        # A value of an input that takes a list of one for each row.
        self._forms = [b"[%b]" if names is not None and len(spec.shape) == 2 else b"%b" for spec in columns]
        pairs = [] if names is None else [b"%b:%b" % (name, form) for name, form in zip(names, self._forms, strict=True)]
        self.template = b"{%b}" % b",".join(pairs)

    @classmethod
    def of(cls, names: list[str], signature: Signature) -> _Shape:
        """Raises BadRequest for a header that does not fit the model."""
        if len(signature.inputs) == 1 and len(signature.inputs[0].shape) == 2:
            (spec,) = signature.inputs
            features, order = spec.shape[1], _order(names, spec)
            if features not in (-1, len(names)):
                raise BadRequest(
                    f"the header has {len(names)} columns, and the model's input {spec.name!r} takes {features} values a row"
                )
            return cls([spec] * len(names), None, order)
        columns = []
        for index, name in enumerate(names):
            spec_or_none = signature.by_name.get(name)
            if spec_or_none is None:
                known = nearest(name[:80], list(signature.by_name))
                raise BadRequest(f"the header names {name[:80]!r}, which is no input of the model; did you mean {known}?")
            if name in names[:index]:
                raise BadRequest(f"the header names {name!r} twice; name each input once")
            if list(spec_or_none.shape[1:]) not in ([], [1], [-1]):
                raise BadRequest(f"the input {name!r} takes more than one value a row, which a field cannot say; send NDJSON")
            columns.append(spec_or_none)
        missing = [spec.name for spec in signature.inputs if not spec.optional and spec.name not in names]
        if missing:
            raise BadRequest(f"the header lacks {', '.join(missing)}; name every input of the model that is not optional")
        return cls(columns, [_string(name).replace(b"%", b"%%") for name in names])

    def row(self, fields: list[str]) -> bytes:
        """The row's JSON. An optional input whose field is empty is left out."""
        values = [_value(field, spec) for field, spec in zip(fields, self._columns, strict=True)]
        if self.names is None:
            return b"[%b]" % b",".join(values if self.ordered is None else self.ordered(values))
        if all(fields):
            return self.template % tuple(values)
        parts = [
            b"%b:%b" % (name.replace(b"%%", b"%"), form % value)
            for name, form, value, field, spec in zip(self.names, self._forms, values, fields, self._columns, strict=True)
            if field or not spec.optional
        ]
        return b"{%b}" % b",".join(parts)


def _order(names: list[str], spec: TensorSpec) -> list[int] | None:
    """Where in a header each feature stands; None where in their own order, as they also do where none is named.

    Raises BadRequest where some are named and not all, each once: by place alone, one would be taken for another.
    """
    features = spec.feature_names
    # LightGBM writes a name's spaces as underscores, and who made the table may not know.
    known = {feature.replace(" ", "_"): feature for feature in features} | {feature: feature for feature in features}
    found = [known.get(name) or known.get(name.replace(" ", "_")) for name in names]
    if not any(found):
        return None
    places = {feature: at for at, feature in enumerate(found)}
    told = [name[:80] or "''" for name in names]
    if None in places:
        fault = f"no feature of the model: {listed([name for name, it in zip(told, found, strict=True) if it is None])}"
    elif len(places) < len(found):
        fault = f"named twice: {listed([name for name, times in Counter(found).items() if times > 1 and name])}"
    elif missing := [feature for feature in features if feature not in places]:
        fault = f"missing: {listed(missing)}"
    else:
        order = [places[feature] for feature in features]
        return None if order == list(range(len(order))) else order
    raise BadRequest(
        f"the header names {listed(told)}; {fault}; "
        f"name each feature once, in any order, and leave other columns out: {listed(features)}"
    )


def _decoded(fields: list[bytes], line: int) -> list[str]:
    try:
        return [field.decode() for field in fields]
    except UnicodeDecodeError:
        raise BadRequest(f"line {line} is not UTF-8; nothing of the job was kept") from None


def _value(field: str, spec: TensorSpec) -> bytes:
    """A field's JSON by its input's datatype, null where nothing or NaN is a missing value.

    What is no such value is a string, which the model's check then refuses by row.
    """
    if spec.datatype == "BYTES":
        return _string(field)
    word = field.strip()
    if spec.missing and word.lower() in ("", "nan"):
        return b"null"
    if spec.datatype == "BOOL":
        return word.lower().encode() if word.lower() in ("true", "false") else _string(field)
    text = word.encode()
    if _IS_NUMBER.fullmatch(text):
        return text
    if len(word) > _LONGEST_NUMBER or not word.isascii() or "_" in word:
        return _string(field)
    for kind in (int, float):  # `+1`, `007`, `.5` are numbers to those who write tables
        try:
            number = kind(word)
        except ValueError:
            continue
        if math.isfinite(number):
            return repr(number).encode()
    return _string(field)
