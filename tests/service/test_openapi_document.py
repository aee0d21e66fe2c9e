"""The document that OpenAPI's own validator, an app's routes and the table of errors are held against."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from quart import Quart

from models import Signature, TensorSpec
from service import create_app
from service.blueprints.documentation import routes_of
from service.config import Config
from service.failures import TABLE
from service.guard.access import ADMIN, INFER, OPEN, PROBE, Access
from service.guard.principal import Scope
from service.openapi.document import document
from service.openapi.facts import Asked, Offer, Route
from service.openapi.operations import OPERATIONS


def batched(*names: str, datatype: str = "FP32", **more: Any) -> Signature:
    specs = tuple(TensorSpec(name, datatype, [-1, 4], **more) for name in names)
    return Signature(specs, (TensorSpec("y", datatype, [-1, 2]),))


OFFERS: Mapping[str, list[Offer]] = {
    "no models": [],
    "scalars": [Offer("scalar", "1", Signature((TensorSpec("x", "FP64", [-1]),), (TensorSpec("y", "INT64", [-1]),)))],
    "one scalar": [Offer("one", "1", Signature((TensorSpec("x", "BOOL", []),), (TensorSpec("y", "BOOL", []),), batched=False))],
    "images": [
        Offer("image", "7", Signature((TensorSpec("i", "UINT8", [-1, 3, 224, 224]),), (TensorSpec("p", "FP32", [-1, 1000]),))),
        Offer("looked-at", "7", batched("i"), True, ("stable",), images="i"),
    ],
    "strings": [Offer("text", "1", batched("words", datatype="BYTES"))],
    "optional inputs": [Offer("optional", "1", batched("a", "b", optional=True))],
    "free dims": [Offer("free", "1", Signature((TensorSpec("x", "FP32", [-1, -1, 2]),), (TensorSpec("y", "FP32", [-1, -1]),)))],
    "missing values": [Offer("lacking", "1", batched("x", datatype="FP64", widens=True, missing=True))],
    "widened": [Offer("wide", "1", batched("x", datatype="FP64", widens=True))],
    "binary alone": [Offer("half", "1", batched("x", datatype="FP16"))],
    "odd datatypes": [Offer(name.lower(), "1", batched("x", datatype=name)) for name in ("BOOL", "UINT64", "BF16")],
    "several outputs": [Offer("many", "1", Signature(batched("x").inputs, batched("y", "z", datatype="BYTES").inputs))],
    "versions and labels": [
        Offer("fraud", "3", batched("x"), False, ("stable",)),
        Offer("fraud", "4", batched("x", "y2"), True, ("canary", "a b/{c}")),
    ],
    "names that nearly clash": [Offer("a.b", "1", batched("x")), Offer("a-b", "1", batched("x")), Offer("name", "1", batched("x"))],
}


#: A server that asks callers for everything it can.
ALL = Asked(credential=True, budget=True)
#: The routes that each model has for itself.
ASKED = {endpoint for endpoint, operation in OPERATIONS.items() if operation.exchange is not None}


@pytest.fixture
def app(tmp_path: Path) -> Quart:
    return create_app(Config(repository=tmp_path))


def operations(made: Any) -> Iterator[tuple[str, str, Any]]:
    for path, item in made["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def needing(routes: list[Route], access: Access) -> list[Route]:
    return [replace(route, access=access) for route in routes]


def resolved(made: Any, schema: Any) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": made["components"]})


@pytest.mark.parametrize("offers", OFFERS.values(), ids=OFFERS)
def test_the_document_is_openapi_whatever_the_models_are(app: Quart, offers: list[Offer]) -> None:
    # The validator is slow: what does not depend on models is held to it once.
    routes = [route for route in routes_of(app) if not offers or route.endpoint in ASKED]
    made: Any = json.loads(json.dumps(document(routes, offers, "1")))
    OpenAPIV31SpecValidator(made).validate()
    ids = [operation["operationId"] for *_, operation in operations(made)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("offers", OFFERS.values(), ids=OFFERS)
def test_every_example_fits_its_schema(app: Quart, offers: list[Offer]) -> None:
    made: Any = document(routes_of(app), offers, "1")
    for _, _, operation in operations(made):
        asked = operation.get("requestBody", {}).get("content", {})
        given = operation["responses"].get("200", {}).get("content", {})
        for body in (*asked.values(), *given.values()):
            for example in body.get("examples", {}).values():
                resolved(made, body["schema"]).validate(example["value"])


def test_every_route_of_the_app_is_in_the_document_with_every_method(app: Quart) -> None:
    @app.patch("/of-the-team/<int:number>")
    async def change(number: int) -> str:
        """Changes a thing."""
        return str(number)

    @app.websocket("/of-the-team/feed")
    async def feed() -> None:
        """Feeds."""

    made: Any = document(routes_of(app), OFFERS["scalars"], "1")
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        wanted = {"get"} if rule.websocket else {method.lower() for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}}
        assert wanted <= set(made["paths"][path]), rule
    added = made["paths"]["/of-the-team/{number}"]["patch"]
    assert added["summary"] == "Changes a thing."
    assert added["parameters"][0]["schema"] == {"type": "integer", "minimum": 0}
    assert "101" in made["paths"]["/of-the-team/feed"]["get"]["responses"]
    OpenAPIV31SpecValidator(made).validate()


def test_every_route_of_ours_is_described_and_nothing_else(app: Quart) -> None:
    assert {route.endpoint for route in routes_of(app) if route.ours} == set(OPERATIONS)


def test_every_parameter_in_a_path_is_described_and_no_other(app: Quart) -> None:
    made: Any = document(routes_of(app), OFFERS["versions and labels"], "1")
    for path, _, operation in operations(made):
        components, given = made["components"]["parameters"], operation.get("parameters", ())
        found = [components[each["$ref"].rpartition("/")[2]] if "$ref" in each else each for each in given]
        assert {each["name"] for each in found if each["in"] == "path"} == set(re.findall(r"{(\w+)}", path)), path


def test_a_model_has_paths_for_itself_its_versions_and_its_labels_each_typed_by_its_own_signature(app: Quart) -> None:
    made: Any = document(routes_of(app), OFFERS["versions and labels"], "1")

    def inputs(path: str) -> set[str]:
        name = made["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        items = made["components"]["schemas"][name]["properties"]["inputs"]["items"]
        return {each["properties"]["name"]["const"] for each in items.get("anyOf", [items])}

    assert inputs("/v2/models/fraud/infer") == inputs("/v2/models/fraud/versions/4/infer") == {"x", "y2"}
    assert inputs("/v2/models/fraud/versions/3/infer") == {"x"}
    labelled = {path for path in made["paths"] if path.startswith("/v1/models/fraud/labels/")}
    assert labelled == {f"/v1/models/fraud/labels/{label}:predict" for label in ("stable", "canary", "a%20b%2F%7Bc%7D")}


def test_only_models_that_take_encoded_images_have_paths_to_classify_them(app: Quart) -> None:
    made: Any = document(routes_of(app), OFFERS["images"], "1")
    named = {path for path in made["paths"] if path.endswith(":classify") and "{" not in path}
    assert named == {f"/v1/models/looked-at{which}:classify" for which in ("", "/versions/7", "/labels/stable")}
    asked = made["paths"]["/v1/models/looked-at:classify"]["post"]
    assert set(asked["requestBody"]["content"]) == {
        "application/json", "multipart/form-data", "image/*", "application/octet-stream"
    }  # fmt: skip
    assert {each["name"] for each in asked["parameters"] if "name" in each} == {"top_k", "threshold"}
    assert "`BYTES`" in made["paths"]["/v2/models/looked-at/infer"]["post"]["description"]
    assert "`BYTES`" not in made["paths"]["/v2/models/image/infer"]["post"]["description"]


def test_every_error_of_the_table_is_in_the_document_under_its_status(app: Quart) -> None:
    made: Any = document(needing(routes_of(app), INFER), [], "1", ALL)
    told = {
        (status, code)
        for response in made["components"]["responses"].values()
        for status, code in [
            (next(s for s, c in TABLE.values() if c == code) if code != "internal" else 500, code)
            for code in response["content"]["application/json"]["schema"]["allOf"][1]["properties"]["code"]["enum"]
        ]
    }
    assert told == {*TABLE.values(), (500, "internal")}
    for status, code in told:
        assert f"| {status} | `{code}` | " in made["info"]["description"]
    used = {status for *_, operation in operations(made) for status in operation["responses"]}
    # 405 is of methods that have no operation, 431 of heads that never reach the app.
    assert {str(status) for status, _ in told} - used == {"405", "431"}


def test_a_server_that_asks_nobody_has_no_word_of_credentials(app: Quart) -> None:
    made: Any = document(needing(routes_of(app), ADMIN), OFFERS["scalars"], "1")
    assert "securitySchemes" not in made["components"]
    for *_, operation in operations(made):
        assert "security" not in operation
        assert not {"401", "403", "429"} & set(operation["responses"])


def test_each_route_asks_for_what_the_gate_asks(app: Quart) -> None:
    asked = {route.endpoint: route.access for route in routes_of(app)}
    assert asked["repository.load"] == ADMIN
    assert asked["metrics.scrape"].scope is Scope.METRICS
    assert asked["health.live"] == PROBE


@pytest.mark.parametrize("need", Scope)
def test_an_operation_names_the_scope_that_it_asks_for_and_how_it_refuses(app: Quart, need: Scope) -> None:
    made: Any = document(needing(routes_of(app), Access(need)), OFFERS["scalars"], "1", ALL)
    for *_, operation in operations(made):
        assert operation["security"] == [{"bearer": [need.value]}, {"key": [need.value]}]
        assert {"401", "403", "429"} <= set(operation["responses"])
        assert ("scope `" in operation.get("description", "")) == (need is not Scope.INFER)
    OpenAPIV31SpecValidator(json.loads(json.dumps(made))).validate()


def test_an_open_operation_asks_for_nothing_and_may_be_over_a_budget_unless_it_is_a_probe(app: Quart) -> None:
    for access, refusals in ((OPEN, {"429"}), (PROBE, set[str]())):
        made: Any = document(needing(routes_of(app), access), OFFERS["scalars"], "1", ALL)
        for *_, operation in operations(made):
            assert operation["security"] == []
            assert {"401", "403", "429"} & set(operation["responses"]) == refusals


def test_the_order_in_which_routes_were_added_changes_nothing(app: Quart) -> None:
    routes = routes_of(app)
    offers = OFFERS["names that nearly clash"]
    assert json.dumps(document(routes, offers, "1")) == json.dumps(document(routes[::-1], offers, "1"))


def test_an_undescribed_route_of_ours_is_in_the_document_by_its_docstring() -> None:
    route = Route("/v2/new", "oip.new", frozenset({"POST"}), "What is new.\n\nAnd more.")
    made: Any = document([route], [], "1")
    operation = made["paths"]["/v2/new"]["post"]
    assert (operation["summary"], operation["description"], operation["tags"]) == ("What is new.", "And more.", ["oip"])
    OpenAPIV31SpecValidator(made).validate()


def test_what_the_server_takes_fits_the_schema_and_what_it_refuses_does_not(app: Quart) -> None:
    made: Any = document(routes_of(app), [Offer("m", "1", batched("x"))], "1")

    def fits(path: str, body: object) -> bool:
        content = made["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        return bool(resolved(made, content["schema"]).is_valid(body))

    def tensor(**other: object) -> object:
        return {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4], **other}]}

    infer, predict = "/v2/models/m/infer", "/v1/models/m:predict"
    assert fits(infer, tensor())
    assert fits(infer, tensor(data=[[1, 2, 3, 4]]))
    assert not fits(infer, tensor(data=[[1, 2, 3]]))
    assert not fits(infer, tensor(name="z"))
    assert not fits(infer, tensor(datatype="FP64"))
    assert not fits(infer, tensor(shape=[1, 5]))
    assert not fits(infer, tensor(shape=[0, 4]))
    assert not fits(infer, tensor(data=["1", 2, 3, 4]))
    assert not fits(infer, tensor(data=[1e39, 2, 3, 4]))
    assert not fits(infer, {"inputs": []})
    assert fits(predict, {"instances": [[1, 2, 3, 4], [5, 6, 7, 8]]})
    assert fits(predict, {"instances": [{"x": [1, 2, 3, 4]}]})
    assert fits(predict, {"inputs": {"x": [[1, 2, 3, 4]]}, "signature_name": "serving_default"})
    assert not fits(predict, {"instances": [[1, 2, 3]]})
    assert not fits(predict, {"instances": [], "signature_name": ""})
    assert not fits(predict, {"instances": [[1, 2, 3, 4]], "inputs": [[1, 2, 3, 4]]})
    assert not fits(predict, {"instances": [{"x": [1, 2, 3, 4], "z": 1}]})
