"""What every answer tells a browser that shows it."""

from __future__ import annotations

import pytest

from tests.e2e.served import Server

OURS = (
    "/v2",
    "/v2/health/ready",
    "/healthz",
    "/v2/models/affine",
    "/v2/models/stats",
    "/metrics",
    "/nothing",
    "/v1/models/affine:predict",
)


@pytest.mark.parametrize("path", OURS)
def test_what_is_no_page_is_of_the_type_that_it_says_and_nobodys_to_keep(server: Server, path: str) -> None:
    reply = server.get(path)
    assert (reply.headers["x-content-type-options"], reply.headers["cache-control"]) == ("nosniff", "no-store")


def test_inferences_and_their_errors_are_of_the_type_that_they_say(server: Server) -> None:
    for body, status in (({"instances": [[1.0, 2.0, 3.0, 4.0]]}, 200), (b"<script>", 400)):
        reply = server.post("/v1/models/affine:predict", body)
        assert reply.status == status
        assert (reply.headers["content-type"], reply.headers["x-content-type-options"]) == ("application/json", "nosniff")


def test_the_page_and_its_parts_are_kept_and_the_document_is_its_readers_own(server: Server) -> None:
    for path, kept in (("/docs", "no-cache"), ("/docs/docs.js", "public, max-age=86400"), ("/openapi.json", "private, no-cache")):
        reply = server.get(path)
        assert (reply.headers["x-content-type-options"], reply.headers["referrer-policy"]) == ("nosniff", "no-referrer")
        assert reply.headers["cache-control"] == kept


def test_the_page_runs_no_script_but_its_own_files_and_is_in_no_frame(server: Server) -> None:
    reply = server.get("/docs")
    policy = dict(part.strip().split(" ", 1) for part in reply.headers["content-security-policy"].split(";"))
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["form-action"] == policy["base-uri"] == policy["default-src"] == "'none'"
    assert reply.headers["x-frame-options"] == "DENY"
    assert b"<script>" not in reply.body
    assert b" style=" not in reply.body
    assert b"onclick" not in reply.body
