"""From the app's rules to OpenAPI's paths, and to names for operations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from service.openapi.facts import Route
from service.openapi.schema import TEXT, Json

#: Werkzeug's `<converter(arguments):name>`.
_VARIABLE = re.compile(r"<(?:(?P<converter>[a-zA-Z_]\w*)(?:\([^>]*\))?:)?(?P<name>[a-zA-Z_]\w*)>")
_SCHEMAS: Mapping[str, Json] = {
    "int": {"type": "integer", "minimum": 0},
    "float": {"type": "number"},
    "uuid": {"type": "string", "format": "uuid"},
}
#: Parts of a path that tell the operations of one method apart and nothing to a reader.
_NOT_WORDS = re.compile(r"[^A-Za-z0-9]+")


def template(rule: str) -> str:
    """The rule as OpenAPI writes it: `/v2/models/{name}`."""
    return _VARIABLE.sub(lambda found: f"{{{found['name']}}}", rule)


def variables(rule: str) -> dict[str, str]:
    """The names in a rule's variable parts, and their converters."""
    return {found["name"]: found["converter"] or "default" for found in _VARIABLE.finditer(rule)}


def filled(rule: str, values: Mapping[str, str]) -> str:
    """The rule with values in place of all its variable parts."""
    return _VARIABLE.sub(lambda found: quote(values[found["name"]], safe=""), rule)


def parameter(name: str, converter: str) -> Json:
    """A part of the path that nothing more is known of."""
    return {"name": name, "in": "path", "required": True, "schema": _SCHEMAS.get(converter, TEXT)}


def methods(route: Route) -> list[str]:
    """What the route is asked with. GET answers HEAD as well, and every path OPTIONS: neither is worth a line of its own."""
    return ["get"] if route.websocket else sorted(method.lower() for method in route.methods - {"HEAD", "OPTIONS"})


class Names:
    """Operations' ids, unique whatever models are called: `post_v2_models_fraud_infer`."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def of(self, method: str, path: str) -> str:
        """The id of the operation at that path, which is given one only once."""
        words = _NOT_WORDS.sub("_", path).strip("_") or "root"
        plain = f"{method}_{words}"
        name, count = plain, 1
        while name in self._taken:
            count += 1
            name = f"{plain}_{count}"
        self._taken.add(name)
        return name


def sorted_routes(routes: Iterable[Route]) -> list[Route]:
    """In an order that does not depend on how the app was put together."""
    return sorted(routes, key=lambda route: (not route.ours, route.rule, sorted(route.methods)))
