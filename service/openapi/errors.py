"""What goes wrong, from the one table of errors: each status with its codes, and what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from http import HTTPStatus

from service.failures import TABLE
from service.openapi.headers import RESPONSE, header_refs, perhaps
from service.openapi.schema import TEXT, Json, array, record, ref, said

#: A defect of ours has no class of its own in the table.
INTERNAL = (500, "internal")
#: What a caller needs to know of a code, where its class speaks to programmers.
MEANINGS: Mapping[str, str] = {
    "bad_request": "The request is malformed: not JSON, not the protocol, or a header that lies.",
    "invalid_input": "Names, shapes, datatypes or values are not what the model takes.",
    "bad_image": "An image is damaged, cut off or empty.",
    "load_failed": "The model, or its model.toml, cannot be loaded; what served before still serves.",
    "not_found": "Nothing is at that path.",
    "unknown_model": "The repository has no such model.",
    "unknown_version": "The model has no such version or label.",
    "unknown_job": "There is no such job of the caller's, or it was forgotten by now.",
    "method_not_allowed": "The path takes other methods, which Allow names.",
    "conflict": "What is asked for clashes with a change that was made before: details name what.",
    "idempotency_clash": "The Idempotency-Key was sent with another request, or with one whose body still arrives.",
    "request_timeout": "The head or the body did not come in time, or too slowly; the connection is closed.",
    "body_too_large": "The body, or what it inflates to, is over its limit.",
    "too_many_rows": "The request has more rows than one may have, or than the model's queue holds.",
    "tensor_too_large": "A tensor has more elements than one may have.",
    "too_many_images": "The request has more images than one may have.",
    "image_too_large": "An image has more pixels, or frames, than one may have.",
    "unsupported_media": "A content type, charset or coding that is not taken.",
    "unsupported_image": "It is no image, or of a format that is not taken: the sentence says what it looks like.",
    "model_failed": "The model raised, or broke its own description.",
    "not_finite": "The answer holds NaN or Infinity, which JSON cannot say; ask for it in binary.",
    "internal": "A defect of the server; its log has the reason under the request's id.",
    "not_supported": "The protocol has it, this server does not.",
    "queue_full": "As many rows wait as may, or as can be answered within the target of the model; try again after Retry-After.",
    "jobs_full": "As many jobs are kept as may be, or as many bytes of them; try again after Retry-After, or delete some.",
    "model_not_ready": "The model loads, was unloaded, or did not load: the sentence says which.",
    "store_unavailable": "The store of what is wanted of the models cannot be used; nothing was changed, and what serves goes on.",
    "not_followed": "What was asked for is wanted, but not all workers have followed yet: details name those.",
    "too_many_connections": "As many connections are open as may be.",
    "too_many_from_address": "As many connections of the client's address are open as may be.",
    "headers_too_large": "The request's line and headers are longer than may be.",
    "draining": "The server is about to stop; ask another.",
    "deadline_exceeded": "The deadline passed, or could not have been met.",
}


@cache
def codes() -> Mapping[int, Mapping[str, str]]:
    """Every status with its codes, each with what it means: a class's own words where no others are known."""
    found: dict[int, dict[str, str]] = {}
    for kind, (status, code) in TABLE.items():
        words = (kind.__doc__ or "").strip().partition("\n")[0]
        found.setdefault(status, {}).setdefault(code, MEANINGS.get(code, words))
    status, code = INTERNAL
    found.setdefault(status, {})[code] = MEANINGS[code]
    return {status: found[status] for status in sorted(found)}


def schemas() -> dict[str, Json]:
    """The JSON that every error is."""
    problem = record(
        {
            "path": said(TEXT, "Where in the request, such as `inputs[0].shape`."),
            "problem": TEXT,
            "expected": TEXT,
            "got": TEXT,
        },
        optional=("expected", "got"),
        description="One thing that is wrong with a request.",
    )
    error = record(
        {
            "error": said(TEXT, "A sentence for people; it may be reworded."),
            "code": said(TEXT, "For programs; it stays."),
            "request_id": said(TEXT, "As X-Request-Id: the log has it too."),
            "details": array(ref("Problem")),
        },
        optional=("details",),
        description="What every error looks like, on every path.",
    )
    return {"Problem": problem, "Error": error}


def response_name(status: int) -> str:
    """The component of a status."""
    return HTTPStatus(status).phrase.replace(" ", "")


def content(status: int) -> Json:
    """An error of that status: one of its codes."""
    return {"allOf": [ref("Error"), {"properties": {"code": {"enum": list(codes()[status])}}}]}


def responses() -> dict[str, Json]:
    """One component for each status of the table."""
    return {response_name(status): _response(status) for status in codes()}


def described(status: int) -> str:
    """The status's codes in words."""
    return "\n".join(f"- `{code}`: {words}" for code, words in codes()[status].items())


def table() -> str:
    """All of them in Markdown, for the head of the document: some belong to no operation, such as 404 for an unknown path."""
    rows = [f"| {status} | `{code}` | {words} |" for status, found in codes().items() for code, words in found.items()]
    return "\n".join(["| status | code | |", "|---|---|---|", *rows])


def _response(status: int) -> Json:
    wanted = ["X-Request-Id", *(name for name, only in RESPONSE.items() if status in only.statuses)]
    examples = {
        code: {"summary": words, "value": {"error": words, "code": code, "request_id": "3f9c2a61d0b84e57-2a"}}
        for code, words in codes()[status].items()
    }
    body: Json = {"schema": content(status), "examples": examples}
    return {
        "description": described(status),
        "headers": header_refs(wanted) | perhaps(status),
        "content": {"application/json": body},
    }
