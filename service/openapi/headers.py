"""Headers of requests and of answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from service.openapi.schema import COUNT, TEXT, VERSION, Json


@dataclass(frozen=True, slots=True)
class Header:
    """A header of an answer; errors of these ``statuses`` have it always, those of ``perhaps`` where there is something to say."""

    schema: Json
    description: str
    statuses: tuple[int, ...] = ()
    perhaps: tuple[int, ...] = ()
    required: bool = True


RESPONSE: Mapping[str, Header] = {
    "X-Request-Id": Header(TEXT, "The request's own, or one made for it; errors and the log have it too."),
    "X-Model-Version": Header(VERSION, "The version that answered."),
    "X-Cache": Header(
        TEXT, "How the answer was come by, of a model that keeps answers: `hit`, `miss`, or `joined` another's.", required=False
    ),
    "Server-Timing": Header(
        TEXT, 'Milliseconds, and the rows that shared the call: `queue;dur=…, infer;dur=…, total;dur=…, batch;desc="rows=17"`.'
    ),
    "X-Explain": Header(
        TEXT, "Why the batch closed, its rows, and how long this request waited: where the request asked for it.", required=False
    ),
    "Retry-After": Header(COUNT, "Seconds after which a new try may have better luck.", (503,), (429,)),
    "RateLimit-Limit": Header(COUNT, "Of the budget that binds most: how many requests or rows.", (), (429,), False),
    "RateLimit-Remaining": Header(COUNT, "How many of them are left.", (), (429,), False),
    "RateLimit-Reset": Header(COUNT, "Seconds until all of them are there again.", (), (429,), False),
    "RateLimit-Policy": Header(TEXT, "The budget: how many in a window of how many seconds, `100;w=1`.", (), (429,), False),
    "Location": Header(TEXT, "Where what was made is told of."),
    "Allow": Header(TEXT, "The methods that the path takes.", (405,)),
    "WWW-Authenticate": Header(TEXT, "How to say who calls.", (401,)),
    "ETag": Header(TEXT, "Changes when the content does."),
}

# What these may be is said in words where anything is taken: a schema would promise a refusal.
REQUEST: Mapping[str, Json] = {
    "X-Request-Id": {
        "name": "X-Request-Id",
        "in": "header",
        "description": "1 to 128 visible ASCII characters; comes back. Anything else is replaced by an id that is made.",
        "schema": TEXT,
    },
    "X-Request-Timeout-Ms": {
        "name": "X-Request-Timeout-Ms",
        "in": "header",
        "description": "The deadline, in milliseconds. Of it and the protocol's own the sooner counts; else the model's.",
        "schema": {"type": "number", "exclusiveMinimum": 0},
    },
    "X-Priority": {
        "name": "X-Priority",
        "in": "header",
        "description": "Who goes first where requests wait. Before the protocol's own.",
        "schema": {"enum": ["high", "normal", "low"], "default": "normal"},
    },
    "X-Explain": {
        "name": "X-Explain",
        "in": "header",
        "description": "`batch` asks for the header of the same name in the answer.",
        "schema": TEXT,
    },
    "Idempotency-Key": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "1 to 128 visible ASCII characters: the same request with the same key is answered with the same job.",
        "schema": {"type": "string", "pattern": "^[!-~]{1,128}$"},
    },
    "Inference-Header-Content-Length": {
        "name": "Inference-Header-Content-Length",
        "in": "header",
        "description": "Where the body's JSON ends and binary tensors begin, in bytes. Leave it out where the body is JSON alone.",
        "schema": COUNT,
    },
}


def header_refs(names: Iterable[str]) -> Json:
    """An answer's headers, by name."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


#: What tells of a caller's budget, where one binds.
BUDGET = tuple(name for name in RESPONSE if name.startswith("RateLimit-"))


def perhaps(status: int) -> Json:
    """The headers that errors of a status may have, and need not."""
    found = {name: header for name, header in RESPONSE.items() if status in header.perhaps}
    return {name: {"description": header.description, "schema": header.schema} for name, header in found.items()}


def parameter_refs(names: Iterable[str]) -> list[Json]:
    """A request's headers, by name."""
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


def components() -> dict[str, Json]:
    """The answers' headers."""
    return {
        name: {"description": header.description, "required": header.required, "schema": header.schema}
        for name, header in RESPONSE.items()
    }
