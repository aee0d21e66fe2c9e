"""What every refusal has in common, and a good request between bad ones."""

from __future__ import annotations

import re

from tests.e2e.bad_requests import ROW, predict
from tests.e2e.served import Reply, Server

INFER_PATH, PREDICT_PATH = "/v2/models/affine/infer", "/v1/models/affine:predict"
ANSWER = {"predictions": [[9.5, -0.5]]}
#: What no caller may see: directories, tracebacks, other people's code.
INSIDE = re.compile(rb'Traceback|File \\?"|site-packages|/tmp|/home|/work|/usr|line \d+, in ')


def check(reply: Reply, status: int, code: str, error: str) -> None:
    """The reply is the JSON that every error has, and tells nothing of the inside."""
    told = reply.json()
    assert (reply.status, told["code"], told["error"]) == (status, code, error)
    assert told["request_id"] == reply.headers["x-request-id"] != ""
    assert reply.headers["content-type"] == "application/json"
    assert set(told) <= {"error", "code", "request_id", "details"}
    check_hidden(reply)


def check_hidden(reply: Reply) -> None:
    """The reply tells nothing of the inside."""
    assert not INSIDE.search(reply.body)


def check_good(server: Server) -> None:
    """A good request is answered."""
    assert server.post(PREDICT_PATH, predict(instances=[ROW])).json() == ANSWER
