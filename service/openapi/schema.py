"""JSON Schema by small nouns, as OpenAPI 3.1 has it (draft 2020-12)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Json = dict[str, object]

TEXT: Json = {"type": "string"}
BOOLEAN: Json = {"type": "boolean"}
NUMBER: Json = {"type": "number"}
#: What msgspec's bounds, and most languages' integers, hold.
COUNT: Json = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
VERSION: Json = {"type": "string", "pattern": "^[1-9][0-9]*$"}
BINARY: Json = {"type": "string", "format": "binary"}


def ref(schema: str) -> Json:
    """A schema of the document, by its name."""
    return {"$ref": f"#/components/schemas/{schema}"}


def record(fields: Mapping[str, object], *, optional: Iterable[str] = (), closed: bool = False, **more: object) -> Json:
    """An object that has all the fields but the optional ones; ``closed``: and no other."""
    absent = set(optional)
    made: Json = {"type": "object", **more, "properties": dict(fields)}
    if required := [name for name in fields if name not in absent]:
        made["required"] = required
    if closed:
        made["additionalProperties"] = False
    return made


def array(items: Json, length: int | None = None, *, least: int | None = None, most: int | None = None, **more: object) -> Json:
    """An array, of exactly ``length`` elements, or of ``least`` to ``most``."""
    least, most = (least, most) if length is None else (length, length)
    made: Json = {"type": "array", **more, "items": items}
    if least:
        made["minItems"] = least
    if most is not None:
        made["maxItems"] = most
    return made


def either(*schemas: Json) -> Json:
    """Any of the schemas; of one, that one."""
    return schemas[0] if len(schemas) == 1 else {"anyOf": list(schemas)}


def said(schema: Json, description: str) -> Json:
    """The schema with words to it."""
    return {**schema, "description": description}
