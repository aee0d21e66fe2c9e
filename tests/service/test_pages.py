"""The models' pages: what they are made of, and the card that they ask for."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_graphs import echo, model, node, tensor, weight, write
from quart import Quart

from service import Config, create_app
from service.assets import MODELS_ASSETS
from service.context import service_of

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
ODD = '''"""A model whose input's name no shell takes as it is."""

from models import PythonModel, TensorSpec


class Odd(PythonModel):
    inputs = [
        TensorSpec("it's $(odd)", "FP64", [-1, 2], feature_names=["age", "<b>"]),
        TensorSpec("k", "INT64", [-1], optional=True),
    ]
    outputs = [TensorSpec("y", "FP64", [-1])]

    def infer(self, inputs):
        return {"y": inputs["it's $(odd)"].sum(axis=1)}
'''
GREY = """
[image]
preset = "unit"
size = [8, 6]
channels = "L"
scores = "none"
"""


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Quart]:
    repository = tmp_path / "repository"
    for version in ("odd/1", "odd/2", "grey/1", "wide/1", "broken/1"):
        (repository / version).mkdir(parents=True)
    for version in ("1", "2"):
        (repository / "odd" / version / "model.py").write_text(ODD)
    (repository / "odd" / "model.toml").write_text('[versions]\npolicy = "all"\nlabels = { stable = 1 }\n')
    pixels, scores = tensor("image", "FP32", ["rows", 1, 8, 6]), tensor("scores", "FP32", ["rows", 2])
    flat = [node("Flatten", ["image"], ["flat"], axis=1), node("MatMul", ["flat", "w"], ["scores"])]
    write(model(flat, [pixels], [scores], [weight("w", np.ones((48, 2), np.float32))]), repository / "grey" / "1")
    (repository / "grey" / "model.toml").write_text(GREY)
    (repository / "grey" / "labels.txt").write_text("dark\nlight\n")
    write(echo("FP32"), repository / "wide" / "1")
    (repository / "broken" / "1" / "model.py").write_text("class")
    made = create_app(Config(repository=repository))
    async with made.test_app():
        loading = service_of(made).loading
        assert loading is not None
        await loading
        yield made


async def card_of(app: Quart, name: str) -> Any:
    reply = await app.test_client().get(f"/models/{name}/card")
    assert reply.status_code == 200
    return json.loads(await reply.get_data())


@pytest.mark.parametrize(
    "accept", [None, "*/*", "application/json", "application/json, text/html", "text/html;q=0.5, */*", "text/html," * 200]
)
async def test_a_client_of_the_api_is_told_at_the_root_that_the_server_is_alive(app: Quart, accept: str | None) -> None:
    reply = await app.test_client().get("/", headers={} if accept is None else {"Accept": accept})
    assert (await reply.get_json(), reply.headers["Vary"]) == ({"status": "alive"}, "Accept")


async def test_a_browser_is_shown_a_page_at_the_root(app: Quart) -> None:
    reply = await app.test_client().get("/", headers={"Accept": BROWSER})
    assert reply.content_type == "text/html; charset=utf-8"
    assert "Accept" in reply.headers["Vary"]


async def test_the_page_says_of_no_model_whether_it_exists(app: Quart) -> None:
    client = app.test_client()
    (body,) = {await (await client.get(f"/models/{name}")).get_data() for name in ("odd", "broken", "absent")}
    assert b"odd" not in body


@pytest.mark.parametrize("path", ["/", "/models/odd"])
async def test_a_page_runs_nothing_but_its_own_files_and_shows_no_images_but_its_readers(app: Quart, path: str) -> None:
    reply = await app.test_client().get(path, headers={"Accept": BROWSER})
    policy = dict(part.strip().split(" ", 1) for part in reply.headers["Content-Security-Policy"].split(";"))
    assert policy.pop("img-src") == "'self' blob:"
    assert {*policy.values()} == {"'self'", "'none'"}
    assert policy["default-src"] == policy["form-action"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert reply.headers["X-Frame-Options"] == "DENY"
    body = await reply.get_data(as_text=True)
    assert not re.search(r"<script(?![^>]* src=)|<style| style=| on\w+=|https?://", body)


@pytest.mark.parametrize(("path", "root"), [("/", ""), ("/models/odd", "../")])
async def test_every_file_that_the_page_and_its_scripts_name_is_there(app: Quart, path: str, root: str) -> None:
    client = app.test_client()
    page = await (await client.get(path, headers={"Accept": BROWSER})).get_data(as_text=True)
    found = set(re.findall(rf'(?:src|href)="{re.escape(root)}pages/([^"]*)"', page))
    for script in sorted(MODELS_ASSETS):
        text = await (await client.get(f"/pages/{script}")).get_data(as_text=True)
        found |= set(re.findall(r'from "\./([^"]*)"', text)) if script.endswith(".js") else set()
    assert found == MODELS_ASSETS


@pytest.mark.parametrize("name", sorted(MODELS_ASSETS))
async def test_a_part_of_the_page_has_its_type_and_is_sent_again_only_once_it_has_changed(app: Quart, name: str) -> None:
    client = app.test_client()
    reply = await client.get(f"/pages/{name}")
    kind = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8", "svg": "image/svg+xml"}
    assert reply.content_type == kind[name.rpartition(".")[2]]
    assert (reply.headers["Cache-Control"], reply.headers["X-Content-Type-Options"]) == ("no-cache", "nosniff")
    assert (await client.get(f"/pages/{name}", headers={"If-None-Match": reply.headers["ETag"]})).status_code == 304


@pytest.mark.parametrize("name", ["models.html", "docs.js", "docs.html", "x.js", "..", "%2e%2e", "..%2fdocs%2fdocs.js"])
async def test_no_other_file_is_ever_read(app: Quart, name: str) -> None:
    assert (await app.test_client().get(f"/pages/{name}")).status_code == 404


@pytest.mark.parametrize("script", sorted(name for name in MODELS_ASSETS if name.endswith(".js")))
async def test_no_script_reads_data_as_markup_or_keeps_a_key_longer_than_the_page(app: Quart, script: str) -> None:
    text = await (await app.test_client().get(f"/pages/{script}")).get_data(as_text=True)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\b|Storage\b|cookie", text)


async def test_a_card_tells_versions_tensors_and_labels(app: Quart) -> None:
    card = await card_of(app, "odd")
    card.pop("requests")
    assert card == {
        "name": "odd",
        "versions": [
            {"version": "1", "state": "READY", "reason": "", "labels": ["stable"]},
            {"version": "2", "state": "READY", "reason": "", "labels": []},
        ],
        "platform": "python",
        "newest": "2",
        "inputs": [
            {"name": "it's $(odd)", "datatype": "FP64", "shape": [-1, 2], "optional": False, "feature_names": ["age", "<b>"]},
            {"name": "k", "datatype": "INT64", "shape": [-1], "optional": True, "feature_names": []},
        ],
        "outputs": [{"name": "y", "datatype": "FP64", "shape": [-1], "optional": False, "feature_names": []}],
        "image": None,
    }


async def test_a_model_that_does_not_answer_has_a_card_that_says_why(app: Quart) -> None:
    card = await card_of(app, "broken")
    (version,) = card["versions"]
    assert version["state"] == "UNAVAILABLE"
    assert "model.py" in version["reason"]
    assert (card["newest"], card["platform"], card["image"]) == (None, None, None)
    assert card["inputs"] == card["outputs"] == card["requests"] == []


async def test_an_unknown_model_has_no_card(app: Quart) -> None:
    reply = await app.test_client().get("/models/absent/card")
    assert (reply.status_code, (await reply.get_json())["code"]) == (404, "unknown_model")


@pytest.mark.parametrize("name", ["odd", "wide", "grey"])
async def test_the_requests_of_a_card_work_as_they_stand_in_a_shell(app: Quart, name: str) -> None:
    card = await card_of(app, name)
    sent = [each for each in card["requests"] if each["arguments"].startswith("-d ")]
    assert [each["form"] for each in sent] == ["TensorFlow Serving", "Open Inference Protocol"]
    for each in sent:
        flag, body = shlex.split(each["arguments"])
        reply = await app.test_client().post(f"/{each['path']}", data=body, headers={"Content-Type": "application/json"})
        assert (flag, reply.status_code) == ("-d", 200), await reply.get_data()


async def test_the_card_of_an_image_classifier_tells_what_images_it_takes_and_how_many_at_once(app: Quart) -> None:
    card, limits = await card_of(app, "grey"), service_of(app).config.limits
    assert card["image"] == {
        "width": 6,
        "height": 8,
        "channels": "L",
        "labels": 2,
        "images": limits.images,
        "body_bytes": limits.body_bytes,
        "drawn": True,
    }
    assert card["requests"][0] == {
        "form": "an image",
        "path": "v1/models/grey:classify",
        "arguments": "-F image=@photo.jpg",
    }
