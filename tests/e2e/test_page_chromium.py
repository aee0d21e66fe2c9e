"""A model's page in a browser: images are dropped, pasted, chosen and drawn, and their labels are seen as bars."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.browser import CHROMIUM, Page, page_of
from tests.e2e.hand import STROKES, choose, draw, drop, paste
from tests.e2e.keyed import Keyed, keyed
from tests.e2e.served import Server, serving

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here; apt-get install chromium")

#: What a list of bars shows: its labels, their numbers, and their lengths in percent.
BARS = """(list) => ({
    labels: [...list.querySelectorAll(".label")].map((each) => each.textContent),
    scores: [...list.querySelectorAll(".score")].map((each) => each.textContent),
    lengths: [...list.querySelectorAll(".full")].map((each) => parseFloat(each.style.inlineSize)),
})"""


@pytest.fixture(scope="module")
def server(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(demo, cwd=tmp_path_factory.mktemp("cwd")) as made:
        yield made


@pytest.fixture
def page(server: Server, tmp_path: Path) -> Iterator[Page]:
    """The page of the demo's digits."""
    with page_of(f"{server.url}/models/digits", tmp_path) as made:
        made.await_true("document.querySelector('.zone')")
        yield made


def example(demo: Path, digit: str) -> Path:
    return demo / "digits" / "examples" / f"{digit}.png"


def answers(page: Page, count: int) -> Any:
    """What the page says of that many images, the newest first."""
    page.await_true(f"document.querySelectorAll('.answers > li').length == {count}")
    return page.evaluate(f"""[...document.querySelectorAll(".answers > li")].map((each) => ({{
        name: each.querySelector("strong").textContent,
        problem: each.querySelector(".problem")?.textContent,
        ...({BARS})(each),
    }}))""")


def test_a_dropped_image_is_shown_with_its_labels_as_bars(page: Page, server: Server, demo: Path) -> None:
    drop(page, example(demo, "3"))
    (answer,) = answers(page, 1)
    assert (answer["name"], answer["labels"][0]) == ("3.png", "3")
    assert [float(score.rstrip("%")) for score in answer["scores"]] == pytest.approx(answer["lengths"], abs=0.06)
    assert answer["lengths"] == sorted(answer["lengths"], reverse=True)
    page.await_true("document.querySelector('[role=status]').textContent.startsWith('3.png: 3, ')")
    assert " ms of it on the server" in page.evaluate("document.querySelector('[role=status]').textContent")
    page.await_true("document.querySelector('.seen').naturalWidth > 0")
    assert page.complaints == []
    assert [url for url in page.requests if not url.startswith((f"{server.url}/", f"blob:{server.url}/"))] == []


def test_a_pasted_image_is_shown_with_its_labels(page: Page, demo: Path) -> None:
    paste(page, "image.png", "image/png", example(demo, "7").read_bytes())
    (answer,) = answers(page, 1)
    assert (answer["name"], answer["labels"][0]) == ("image.png", "7")


def test_many_images_are_asked_about_at_once_and_a_bad_one_spoils_no_other(page: Page, demo: Path, tmp_path: Path) -> None:
    bad = tmp_path / "<b>no image.png"
    bad.write_text("this is no image")
    choose(page, example(demo, "0"), bad, example(demo, "4"))
    first, second, third = answers(page, 3)
    assert (first["labels"][0], second["labels"], third["labels"][0]) == ("0", [], "4")
    assert second["name"] == bad.name
    assert second["problem"]
    assert sum(url.endswith(":classify") for url in page.requests) == 1


def test_an_image_that_is_refused_has_the_servers_own_sentence(page: Page, server: Server, tmp_path: Path) -> None:
    bad = tmp_path / "notes.png"
    bad.write_text("this is no image")
    choose(page, bad)
    (answer,) = answers(page, 1)
    refused = server.post("/v1/models/digits:classify", bad.read_bytes(), {"content-type": "application/octet-stream"})
    assert answer["problem"] == refused.json()["error"]


@pytest.mark.parametrize("finger", [False, True], ids=["mouse", "finger"])
@pytest.mark.parametrize("digit", STROKES)
def test_a_drawn_digit_is_known(page: Page, digit: str, finger: bool) -> None:
    draw(page, STROKES[digit], finger=finger)
    page.await_true(f"document.querySelector('.drawing .label')?.textContent == '{digit}'")
    assert page.complaints == []


def test_a_cleared_drawing_is_black_and_says_nothing(page: Page) -> None:
    draw(page, STROKES["1"])
    page.await_true("document.querySelector('.drawing .bars')")
    page.evaluate("document.querySelector('.board button').click()")
    assert page.evaluate("document.querySelector('.drawing .bars')") is None
    pixels = "document.querySelector('canvas').getContext('2d').getImageData(0, 0, 320, 320).data"
    assert page.evaluate(f"{pixels}.every((value, index) => value === (index % 4 === 3 ? 255 : 0))")


def test_the_models_are_listed_at_the_root_and_each_leads_to_its_page_and_back(server: Server, tmp_path: Path) -> None:
    with page_of(server.url, tmp_path) as page:
        page.await_true("document.querySelector('.models a')")
        names = page.evaluate("[...document.querySelectorAll('.models a')].map((each) => each.textContent)")
        assert names == ["digits", "fraud", "ranker", "recommender"]
        page.evaluate("document.querySelectorAll('.models a')[1].click()")
        page.await_true("document.querySelector('#view h1')?.textContent == 'fraud'")
        assert page.evaluate("location.pathname") == "/models/fraud"
        assert page.evaluate("[document.querySelector('.zone'), document.querySelector('canvas')]") == [None, None]
        assert f"{server.url}/v1/models/fraud:predict" in page.evaluate("document.querySelector('pre').textContent")
        page.evaluate("history.back()")
        page.await_true("document.querySelector('.models a')")
        assert page.complaints == []


def test_a_model_that_is_not_there_is_told_in_the_servers_words(server: Server, tmp_path: Path) -> None:
    with page_of(f"{server.url}/models/absent", tmp_path) as page:
        page.await_true("document.querySelector('#view .problem')")
        told = server.get("/models/absent/card").json()["error"]
        assert page.evaluate("document.querySelector('#view .problem').textContent") == told


@pytest.fixture(scope="module")
def guarded(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    with keyed(demo, tmp_path_factory.mktemp("guarded"), "--model", "digits") as made:
        yield made


def give(page: Page, key: str) -> None:
    page.await_true("document.querySelector('#door:not([hidden])')")
    page.evaluate(f"document.getElementById('key').value = {key!r}")
    page.evaluate("document.querySelector('#door button').click()")


def test_a_key_opens_the_list_and_its_models_and_is_gone_once_the_page_is_loaded_again(
    guarded: Keyed, demo: Path, tmp_path: Path
) -> None:
    with page_of(guarded.server.url, tmp_path) as page:
        give(page, guarded.key)
        page.await_true("document.querySelector('.models a')")
        assert page.evaluate("[...document.querySelectorAll('.models a')].map((each) => each.textContent)") == ["digits"]
        page.evaluate("document.querySelector('.models a').click()")
        page.await_true("document.querySelector('.zone')")
        drop(page, example(demo, "3"))
        (answer,) = answers(page, 1)
        assert answer["labels"][0] == "3"
        assert page.evaluate("document.getElementById('key').value") == ""
        kept = "location.href + document.cookie + JSON.stringify([localStorage, sessionStorage, history.state])"
        assert guarded.key not in page.evaluate(kept)
        page.reload()
        page.await_true("document.querySelector('#door:not([hidden])')")


@pytest.mark.parametrize("wrong", ["tur_wrong", "☃"])
def test_a_key_that_is_not_known_is_told(guarded: Keyed, tmp_path: Path, wrong: str) -> None:
    with page_of(f"{guarded.server.url}/models/digits", tmp_path) as page:
        give(page, wrong)
        page.await_true("document.getElementById('problem').textContent != ''")
        assert page.evaluate("document.querySelector('.zone')") is None


def test_the_page_of_a_model_of_features_names_them_in_their_order(server: Server, tmp_path: Path) -> None:
    (tensor,) = server.request("GET", "/v2/models/fraud").json()["inputs"]
    with page_of(f"{server.url}/models/fraud", tmp_path) as page:
        page.await_true("document.querySelector('details[open]')")
        names = page.evaluate("[...document.querySelectorAll('details li')].map((each) => each.textContent)")
        assert names == tensor["parameters"]["feature_names"]
        assert "amount" in " ".join(names)
        assert page.complaints == []
