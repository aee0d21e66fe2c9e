"""What a caller has to bring, and what becomes of one who does not."""

from __future__ import annotations

from service.guard.access import Access
from service.guard.principal import Scope
from service.openapi.errors import response_name
from service.openapi.facts import Asked
from service.openapi.headers import BUDGET, header_refs
from service.openapi.schema import Json

#: The two places of one credential; a request that has both is refused.
BEARER, KEY = "bearer", "key"
_SCHEMES: Json = {
    BEARER: {"type": "http", "scheme": "bearer", "description": "An API key, or a JWT."},
    KEY: {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "The same in a header of its own; send one of both.",
    },
}


def components(asked: Asked) -> Json:
    """The schemes, where a credential is asked for."""
    return {"securitySchemes": _SCHEMES} if asked.credential else {}


def guarded(operation: Json, access: Access, asked: Asked) -> Json:
    """The operation with what it asks of callers, and with how they are refused."""
    need = access.scope
    refusals = [401, 403] if asked.credential and need is not None else []
    if asked.budget and access.spends:
        refusals.append(429)
    responses = operation["responses"]
    if isinstance(responses, dict):
        told: Json = {str(status): {"$ref": f"#/components/responses/{response_name(status)}"} for status in refusals}
        if 429 in refusals and "200" in responses:
            given = responses["200"]
            told["200"] = {**given, "headers": {**given.get("headers", {}), **header_refs(BUDGET)}}
        operation = {**operation, "responses": {**responses, **told}}
    if not asked.credential:
        return operation
    if need is None:
        return {**operation, "security": []}
    made = {**operation, "security": [{BEARER: [need.value]}, {KEY: [need.value]}]}
    if need is not Scope.INFER:
        words = operation.get("description")
        made["description"] = f"{words}\n\nAsks for the scope `{need}`." if words else f"Asks for the scope `{need}`."
    return made
