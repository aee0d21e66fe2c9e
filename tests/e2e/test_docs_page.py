"""The page of the API's documentation, in a browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.browser import CHROMIUM, page_of
from tests.e2e.conftest import Servers
from tests.e2e.served import Server

OPERATION = "#operations-model_affine-post_v1_models_affine_predict"


@pytest.fixture
def server(servers: Servers) -> Server:
    return servers("hypercorn", "express")


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here; apt-get install chromium")
def test_the_page_shows_all_operations_tries_one_out_and_asks_no_other_host(server: Server, tmp_path: Path) -> None:
    with page_of(f"{server.url}/docs", tmp_path) as page:
        count = sum(len(item) for item in server.get("/openapi.json").json()["paths"].values())
        page.await_true(f"document.querySelectorAll('.opblock').length == {count}")
        page.evaluate(f"document.querySelector('{OPERATION} .opblock-summary-control').click()")
        page.await_true(f"document.querySelector('{OPERATION} .execute')")
        page.evaluate(f"document.querySelector('{OPERATION} .execute').click()")
        page.await_true(f"document.querySelector('{OPERATION} .live-responses-table')")
        answer = page.evaluate(f"document.querySelector('{OPERATION} .live-responses-table').innerText")
        assert "200" in answer
        assert "predictions" in answer
        assert page.complaints == []
        asked = [url for url in page.requests if not url.startswith("data:")]
        assert f"{server.url}/v1/models/affine:predict" in asked
        assert [url for url in asked if not url.startswith(f"{server.url}/")] == []


def test_the_page_may_use_nothing_but_its_own_origin(server: Server) -> None:
    reply = server.get("/docs")
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(part.strip().split(" ", 1) for part in reply.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert {value for values in policy.values() for value in values.split()} <= {"'none'", "'self'", "data:"}
    assert (reply.headers["x-content-type-options"], reply.headers["x-frame-options"]) == ("nosniff", "DENY")
    for scheme in (b"http://", b"https://", b"//cdn"):
        assert scheme not in reply.body


@pytest.mark.parametrize(
    ("file", "content_type"),
    [
        ("docs.css", "text/css; charset=utf-8"),
        ("docs.js", "text/javascript; charset=utf-8"),
        ("swagger-ui.css", "text/css; charset=utf-8"),
        ("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
        ("favicon-32x32.png", "image/png"),
    ],
)
def test_every_part_of_the_page_has_its_type_and_is_sent_once(server: Server, file: str, content_type: str) -> None:
    plain = server.get(f"/docs/{file}")
    packed = server.get(f"/docs/{file}", {"accept-encoding": "gzip"})
    assert (plain.status, packed.status) == (200, 200)
    assert plain.headers["content-type"] == packed.headers["content-type"] == content_type
    assert len(packed.body) <= len(plain.body)
    assert "max-age" in plain.headers["cache-control"]
    assert server.get(f"/docs/{file}", {"if-none-match": plain.headers["etag"]}).status == 304


@pytest.mark.parametrize("file", ["docs.html", "x.js", "..", "%2e%2e", "..%2fdocs.html", "swagger-ui-bundle.js.map"])
def test_nothing_else_is_ever_read(server: Server, file: str) -> None:
    assert server.get(f"/docs/{file}").status == 404
