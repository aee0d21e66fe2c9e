"""What Schemathesis asks of our own answers beside its own checks; it reads this file by SCHEMATHESIS_HOOKS."""

from __future__ import annotations

import re
from typing import Any

import schemathesis
from schemathesis import Case, CheckContext, Response

#: Refusals that are the caller's, the model's or the moment's, and no defect of the server.
EXPECTED = {
    "not_finite",
    "not_supported",
    "queue_full",
    "model_not_ready",
    "draining",
    "deadline_exceeded",
    "not_followed",
    "jobs_full",
}
#: Why a request that its schema allows may be refused all the same: what no schema can say.
BEYOND_SCHEMAS = re.compile(
    "|".join(
        (
            "the inputs differ in rows",
            "the rows differ in shape",
            "the data is ragged",
            "the data is not nested as its shape",
            "the shape has another number of elements",
            "no array can have this shape",
            "the tensor has too many elements",  # a product of its dims
            "rows, over the limit",  # the first of them
            "the shape does not fit the model",  # flat data of another length than the shape's free dims leave room for
            "an input is missing",
            "an input is in every row or in none",
            "the input is given twice",
            "the output is asked for twice",
            "the output cannot be ranked",
            "the rows of one request must agree",
            r"expected (an integer from .*|int.*), got (float|[-+\d]+[.e][-+.\de]*)",  # 1.0 is an integer to JSON Schema alone
            "the callback .* is not taken",  # where nothing says which hosts may be reached
            "the query has both version and label",
            "which JSON does not have",  # an output of FP16, without a wish for binary
            r"images\[\d+\]\.b64: (?!not what is expected)",  # a text that is no base64, or that of no image
        )
    )
)


schemathesis.serializer.alias("application/x-ndjson", "text/plain")


@schemathesis.check
def no_defect(_: CheckContext, response: Response, case: Case[Any]) -> None:
    """A 5xx carries a code that says why it is none of ours."""
    if response.status_code >= 500:
        body = response.json()
        # A probe's own answer while it is not ready has no code.
        assert body.get("ready") is False or body["code"] in EXPECTED, f"{case.operation.label}: {body}"


@schemathesis.check
def taken(_: CheckContext, response: Response, case: Case[Any]) -> None:
    """A request that fits its schema is taken, or refused for what no schema can say."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code not in (400, 413, 415):
        return
    headers = {name.lower() for name in case.headers}
    if "{" in case.operation.path or "inference-header-content-length" in headers or case.media_type != "application/json":
        return  # of any model, or binary: the schema knows nothing of what the body has to be
    told = response.json()["error"]
    assert BEYOND_SCHEMAS.search(told), f"{case.operation.label} refused what its schema allows: {told}"
