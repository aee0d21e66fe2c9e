"""The page of the API's documentation, in a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.browser import CHROMIUM, Page, page_of
from tests.e2e.conftest import Servers
from tests.e2e.keyed import Keyed, bearer, key_of, keyed
from tests.e2e.patience import until
from tests.e2e.served import Server

NEEDS_CHROMIUM = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here; apt-get install chromium")
OPERATION = "#operations-model_affine-post_v1_models_affine_predict"

#: Into Authorize's box for X-API-Key, as React hears of it.
FILL_IN = """{
    const box = document.querySelector("#api_key_value");
    Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(box, "wrong");
    box.dispatchEvent(new Event("input", { bubbles: true }));
    box.closest("form").querySelector(".authorize").click();
    document.querySelector(".close-modal").click();
}"""


@pytest.fixture
def server(servers: Servers) -> Server:
    return servers("hypercorn", "express")


@NEEDS_CHROMIUM
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


@pytest.fixture(scope="module")
def guarded(kitchen: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    """With a key of one model alone."""
    with keyed(kitchen, tmp_path_factory.mktemp("guarded"), "--model", "affine") as made:
        yield made


def paste(page: Page, key: str) -> None:
    page.await_true("document.querySelector('#door:not([hidden])')")
    page.evaluate(f"document.getElementById('key').value = {key!r}")
    page.evaluate("document.querySelector('#door button').click()")


def execute(page: Page) -> str:
    """What the operation shows once it was tried out."""
    operation = f"document.querySelector('{OPERATION}')"
    page.await_true(f"document.querySelector('{OPERATION} .opblock-summary-control')")
    page.evaluate(f"if (!{operation}.matches('.is-open')) {operation}.querySelector('.opblock-summary-control').click()")
    page.await_true(f"document.querySelector('{OPERATION} .execute')")
    page.evaluate(f"document.querySelector('{OPERATION} .btn-clear')?.click()")
    page.evaluate(f"document.querySelector('{OPERATION} .execute').click()")
    page.await_true(f"document.querySelector('{OPERATION} .live-responses-table')")
    return str(page.evaluate(f"document.querySelector('{OPERATION} .live-responses-table').innerText"))


@NEEDS_CHROMIUM
def test_a_server_that_asks_for_a_key_shows_a_box_for_it_and_then_what_the_key_may_use(guarded: Keyed, tmp_path: Path) -> None:
    with page_of(f"{guarded.server.url}/docs", tmp_path) as page:
        paste(page, guarded.key)
        mine = guarded.server.get("/openapi.json", bearer(guarded.key)).json()
        count = sum(len(item) for item in mine["paths"].values())
        page.await_true(f"document.querySelectorAll('.opblock').length == {count}")
        assert page.evaluate("document.getElementById('door').hidden")
        assert "200" in execute(page)
        page.reload()  # the tab keeps it
        assert "predictions" in execute(page)
        assert guarded.key not in page.evaluate("location.href + document.cookie + JSON.stringify(localStorage)")
        assert not [url for url in page.requests if guarded.key in url]
        page.reload("document.getElementById('forget').click()")
        page.await_true("document.querySelector('#door:not([hidden])')")
        assert page.evaluate("sessionStorage.length") == 0
        # The browser itself tells of each 401; nothing else may complain.
        assert [told for told in page.complaints if "401" not in told] == []


@NEEDS_CHROMIUM
def test_a_key_that_is_not_known_is_told_and_not_kept(guarded: Keyed, tmp_path: Path) -> None:
    with page_of(f"{guarded.server.url}/docs", tmp_path) as page:
        for wrong in ("tur_wrong", "schlüssel", "☃"):
            paste(page, wrong)
            page.await_true("document.getElementById('problem').textContent != ''")
            assert page.evaluate("sessionStorage.length") == 0
            assert page.evaluate("document.querySelectorAll('.opblock').length") == 0


@NEEDS_CHROMIUM
def test_a_key_given_to_authorize_goes_before_that_of_the_tab(guarded: Keyed, tmp_path: Path) -> None:
    with page_of(f"{guarded.server.url}/docs", tmp_path) as page:
        paste(page, guarded.key)
        page.await_true("document.querySelector('.auth-wrapper .authorize')")
        page.evaluate("document.querySelector('.auth-wrapper .authorize').click()")
        page.await_true("document.querySelector('#api_key_value')")
        page.evaluate(FILL_IN)
        assert "401" in execute(page)


def test_the_page_and_its_parts_are_open_and_the_document_is_not(guarded: Keyed) -> None:
    page = guarded.server.get("/docs")
    assert page.status == 200
    for part in re.findall(rb'(?:src|href)="(docs/[^"]*)"', page.body):
        assert guarded.server.get(f"/{part.decode()}").status == 200
    refused = guarded.server.get("/openapi.json")
    assert (refused.status, refused.headers["www-authenticate"]) == (401, 'Bearer realm="tureen"')
    assert guarded.server.get("/openapi.json", {"X-API-Key": guarded.key}).status == 200


def test_the_document_holds_no_model_but_those_that_its_reader_may_use(guarded: Keyed) -> None:
    def models(shown: str) -> set[str]:
        paths = guarded.server.get("/openapi.json", bearer(shown)).json()["paths"]
        return {
            path.split("/")[3].partition(":")[0] for path in paths if path.startswith("/v2/models/") and path.endswith("/infer")
        }

    every = key_of(guarded.state)
    until(lambda: guarded.server.get("/v2", bearer(every)).status == 200, "the new key is known")
    assert models(guarded.key) == {"affine", "{name}"}
    assert models(every) > {"affine", "half", "{name}"}
    narrow, wide = (guarded.server.get("/openapi.json", bearer(shown)) for shown in (guarded.key, every))
    assert b"half" not in narrow.body
    assert narrow.headers["etag"] != wide.headers["etag"]
    assert narrow.headers["cache-control"] == "private, no-cache"
    assert {"authorization", "x-api-key"} <= {name.strip().lower() for name in narrow.headers["vary"].split(",")}
    assert guarded.server.get("/openapi.json", {**bearer(every), "if-none-match": narrow.headers["etag"]}).status == 200
