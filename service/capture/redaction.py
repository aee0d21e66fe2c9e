"""What a captured body says without the values that nobody may keep.

Names are those of tensors, or of fields in any object. A body stays only where it is known which name each of its values goes by:
JSON that the protocol has read. It is written anew, since of a key that stands twice only one would be looked at.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, NamedTuple

import orjson

#: What stands in a value's place.
REDACTED: Final = "[redacted]"
#: What is kept of a tensor whose values are not: nothing that depends on them.
_KEPT: Final = frozenset({"name", "datatype", "shape"})
#: Where TensorFlow Serving's form has values, in requests and in answers.
_VALUES: Final = frozenset({"instances", "inputs", "predictions", "outputs"})


class Redacted(NamedTuple):
    """A body as it may be kept, and whether something of it was left out."""

    body: bytes
    missing: bool


class Redaction:
    """Leaves out the values of these names."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)

    def __bool__(self) -> bool:
        return bool(self._names)

    def of(self, body: bytes, nameless: Collection[str]) -> Redacted | None:
        """A body that the protocol has read, or written; None where it is no JSON object.

        ``nameless``: the tensors whose values need no name beside them where there is but one, as in TensorFlow Serving's form.
        """
        try:
            content = orjson.loads(body)
            if not isinstance(content, dict):
                return None
            alone = len(nameless) == 1 and not self._names.isdisjoint(nameless)
            kept = {key: REDACTED if alone and key in _VALUES else self._value(key, value) for key, value in content.items()}
            return Redacted(orjson.dumps(kept), kept != content)
        except (ValueError, TypeError, RecursionError):  # nested deeper than can be read or written
            return None

    def of_error(self, body: bytes) -> Redacted:
        """What is kept of an error: its sentence and details may quote what came."""
        try:
            content = orjson.loads(body)
        except orjson.JSONDecodeError:
            content = None
        known = content if isinstance(content, dict) else {}
        return Redacted(orjson.dumps({key: known[key] for key in ("code", "request_id") if isinstance(known.get(key), str)}), True)

    def _value(self, key: str, value: Any) -> Any:
        return REDACTED if key in self._names else self._without(value)

    def _without(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._without(item) for item in value]
        if not isinstance(value, dict):
            return value
        name = value.get("name")
        if isinstance(name, str) and name in self._names:  # a tensor, by its name
            return {key: value[key] if key in _KEPT - self._names else REDACTED for key in value}
        return {key: self._value(key, item) for key, item in value.items()}
