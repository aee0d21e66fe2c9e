"""The API's documentation, held to servers that run: examples work, and what Schemathesis thinks of is answered as it says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from onnx_graphs import echo, write

from tests.e2e import gallery
from tests.e2e.conftest import Servers
from tests.e2e.keyed import Keyed, bearer, keyed
from tests.e2e.served import Server, serving

HERE = Path(__file__).parent
#: Paths that share their schemas and their code with others.
TWICE = "/(affine|half|shade)/versions/|/spare"
ORDER = '''"""Every trait of a signature that a schema has a word for, and some that it has none for."""

import numpy as np

from models import PythonModel, TensorSpec


class Order(PythonModel):
    inputs = (
        TensorSpec("dish", "BYTES", [-1]),
        TensorSpec("amounts", "FP64", [-1, -1], widens=True, missing=True),
        TensorSpec("hot", "BOOL", [-1], optional=True),
        TensorSpec("k", "INT8", [-1], optional=True, uniform=True),
    )
    outputs = (TensorSpec("label", "BYTES", [-1]), TensorSpec("many", "BOOL", [-1]), TensorSpec("ids", "UINT64", [-1, -1]))

    def infer(self, inputs):
        rows = len(inputs["dish"])
        ids = np.arange(2 * rows, dtype=np.uint64).reshape(-1, 2)
        return {"label": inputs["dish"], "many": np.full(rows, inputs["amounts"].shape[1] > 1), "ids": ids}
'''


@pytest.fixture(scope="module")
def menu(kitchen: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some of the kitchen's models that neither wait nor raise, and one with the traits that those have not."""
    directory = tmp_path_factory.mktemp("menu")
    shutil.copytree(kitchen / "affine", directory / "affine")
    for name in ("half", "spare"):
        (directory / name / "1").mkdir(parents=True)
        write(echo("FP16"), directory / name / "1")
    (directory / "order" / "1").mkdir(parents=True)
    (directory / "order" / "1" / "model.py").write_text(ORDER)
    shutil.copytree(gallery.build(tmp_path_factory.mktemp("gallery") / "repository") / "shade", directory / "shade")
    return directory


@pytest.fixture(scope="module")
def menu_server(menu: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(menu, cwd=tmp_path_factory.mktemp("cwd")) as server:
        yield server


@pytest.fixture(scope="module")
def guarded(menu: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    """The same menu for those alone who have a key, with one that may do everything."""
    with keyed(menu, tmp_path_factory.mktemp("guarded"), "--scope", "admin") as made:
        yield made


def document_of(server: Server) -> Any:
    return server.get("/openapi.json").json()


def examples(document: Any) -> Iterator[tuple[str, str, Any, Any]]:
    """Path, the example's name, request and answer (or None) of every example that has a request."""
    for path, item in document["paths"].items():
        for operation in item.values():
            asked = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("examples", {})
            given = operation["responses"].get("200", {}).get("content", {}).get("application/json", {}).get("examples", {})
            for name, one in asked.items():
                answer = given.get(name) or given.get("answer")
                yield path, name, one["value"], answer and answer["value"]


def form(value: Any) -> Any:
    """What of an answer an example promises: its keys, its nesting, its kinds of values, and what is no number."""
    if isinstance(value, dict):
        return {key: form(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [form(value[0])] if value else []
    return float if isinstance(value, int | float) and not isinstance(value, bool) else type(value)


def test_every_example_works_as_it_stands_and_its_answer_has_the_form_that_is_shown(servers: Servers) -> None:
    server = servers("hypercorn", "express")
    found = [one for one in examples(document_of(server)) if "/gate" not in one[0]]  # it waits for what `text` names
    assert len(found) > 30
    for path, name, asked, given in found:
        reply = server.post(path, asked, {"content-type": "application/json"})
        assert reply.status == 200, (path, name, reply.body)
        if given is not None:
            assert form(reply.json()) == form(given), (path, name)


def test_a_model_that_is_unloaded_is_in_the_document_no_more_and_back_once_it_is_loaded(menu_server: Server) -> None:
    before = menu_server.get("/openapi.json")
    assert menu_server.get("/openapi.json", {"if-none-match": before.headers["etag"]}).status == 304
    menu_server.post("/v2/repository/models/spare/unload")
    assert "/v2/models/spare/infer" not in document_of(menu_server)["paths"]
    assert menu_server.get("/openapi.json", {"if-none-match": before.headers["etag"]}).status == 200
    menu_server.post("/v2/repository/models/spare/load")
    assert document_of(menu_server) == before.json()


def schemathesis(cwd: Path, *arguments: object, finds: bool = False) -> str:
    """What a run of Schemathesis says; it is an error unless it found nothing, or something where it ``finds``."""
    run = subprocess.run(
        [str(Path(sys.executable).with_name("schemathesis")), *map(str, arguments), "--no-color"],
        cwd=cwd,
        env={**os.environ, "SCHEMATHESIS_HOOKS": str(HERE / "schemathesis_checks.py"), "PYTHONPATH": ""},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=110,
        check=False,
    )
    assert run.returncode == int(finds), run.stdout[-20_000:]
    return run.stdout


def test_schemathesis_finds_nothing_that_our_own_document_does_not_say(menu_server: Server, tmp_path: Path) -> None:
    said = schemathesis(
        tmp_path, "--config-file", HERE / "schemathesis.toml", "run", f"{menu_server.url}/openapi.json", "-n", 3,
        "--exclude-path-regex", TWICE,
    )  # fmt: skip
    tested = re.search(r"Tested: (\d+)", said)
    paths = [path for path in document_of(menu_server)["paths"] if not re.search(TWICE, path)]
    assert tested is not None
    assert int(tested[1]) >= len(paths)


def test_schemathesis_finds_nothing_where_a_key_is_asked_for_and_no_operation_that_does_without(
    guarded: Keyed, tmp_path: Path
) -> None:
    # Its check `ignored_auth` asks each operation that wants a key without one, and with a wrong one.
    said = schemathesis(
        tmp_path, "--config-file", HERE / "schemathesis.toml", "run", f"{guarded.server.url}/openapi.json", "-n", 2,
        "--phases", "examples,fuzzing", "--header", f"Authorization: Bearer {guarded.key}", "--exclude-path-regex", TWICE,
    )  # fmt: skip
    tested = re.search(r"Tested: (\d+)", said)
    paths = [
        path for path in guarded.server.get("/openapi.json", bearer(guarded.key)).json()["paths"] if not re.search(TWICE, path)
    ]
    assert tested is not None
    assert int(tested[1]) >= len(paths)


def test_schemathesis_would_find_an_operation_that_does_without_a_key(menu_server: Server, guarded: Keyed, tmp_path: Path) -> None:
    (tmp_path / "guarded.json").write_bytes(guarded.server.get("/openapi.json", bearer(guarded.key)).body)
    said = schemathesis(
        tmp_path, "run", tmp_path / "guarded.json", "--url", menu_server.url, "-n", 1, "--checks", "ignored_auth",
        "--phases", "fuzzing", "--header", f"Authorization: Bearer {guarded.key}", "--include-path", "/v2/models/stats", finds=True,
    )  # fmt: skip
    assert "/v2/models/stats" in said


def test_schemathesis_finds_nothing_that_the_protocols_own_document_does_not_say(menu_server: Server, tmp_path: Path) -> None:
    said = schemathesis(
        tmp_path, "--config-file", HERE / "schemathesis_protocol.toml", "run", HERE / "open_inference_rest.yaml",
        "--url", menu_server.url, "-n", 15,
    )  # fmt: skip
    assert "Tested: 6" in said


def test_our_examples_and_their_answers_are_the_protocols_own(menu_server: Server) -> None:
    import schemathesis as library

    protocol = library.openapi.from_path(HERE / "open_inference_rest.yaml")
    operation = protocol["/v2/models/{MODEL_NAME}/versions/{MODEL_VERSION}/infer"]["POST"]
    found = [one for one in examples(document_of(menu_server)) if re.fullmatch("/v2/models/.*/versions/1/infer", one[0])]
    assert {path.split("/")[3] for path, *_ in found} == {"affine", "order", "shade"}
    for path, _, asked, _ in found:
        model = path.split("/")[3]
        case = operation.Case(
            path_parameters={"MODEL_NAME": model, "MODEL_VERSION": "1"}, body=asked, media_type="application/json"
        )
        reply = case.call(base_url=menu_server.url)
        assert reply.status_code == 200
        case.validate_response(reply)
    assert json.loads(reply.content)["outputs"]
