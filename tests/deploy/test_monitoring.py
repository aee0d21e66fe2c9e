"""Dashboard and alerts ask for what is there, in words that Prometheus understands."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families as parse

from service.metrics.families import COUNTED, READ
from tests.e2e.served import Server

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana" / "tureen.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
RULES = [rule for group in yaml.safe_load((DEPLOY / "alerts" / "tureen.yaml").read_text())["groups"] for rule in group["rules"]]
#: Labels that the scrape itself adds.
SCRAPED = {"job", "instance"}
LABELS = {
    name: {*family.labels, *SCRAPED, *({"le"} if name.endswith("_bucket") else ())}
    for family in (*COUNTED.values(), *READ.values())
    for name in ([f"{family.name}_{part}" for part in ("bucket", "sum", "count")] if family.bounds else [family.exposed])
}


def queries() -> Iterator[tuple[str, str]]:
    """Every expression, with what it belongs to."""
    for panel in PANELS:
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$__rate_interval", "5m")
    for rule in RULES:
        yield rule["alert"], rule["expr"]


QUERIES = list(queries())


def selectors(node: Any) -> Iterator[Any]:
    """The series that an expression reads."""
    match node:
        case promql_parser.VectorSelector():
            yield node
        case promql_parser.MatrixSelector():
            yield node.vector_selector
        case promql_parser.BinaryExpr():
            yield from (*selectors(node.lhs), *selectors(node.rhs))
        case promql_parser.Call():
            for argument in node.args:
                yield from selectors(argument)
        case promql_parser.AggregateExpr() | promql_parser.ParenExpr() | promql_parser.UnaryExpr():
            yield from selectors(node.expr)


def grouped(node: Any) -> Iterator[tuple[set[str], Any]]:
    """Every aggregation: the labels that it keeps, and what it is of."""
    match node:
        case promql_parser.AggregateExpr():
            yield set(node.modifier.labels if node.modifier is not None else ()), node.expr
            yield from grouped(node.expr)
        case promql_parser.BinaryExpr():
            yield from (*grouped(node.lhs), *grouped(node.rhs))
        case promql_parser.Call():
            for argument in node.args:
                yield from grouped(argument)
        case promql_parser.ParenExpr() | promql_parser.UnaryExpr():
            yield from grouped(node.expr)


@pytest.mark.parametrize(("owner", "query"), QUERIES, ids=[f"{owner}-{place}" for place, (owner, _) in enumerate(QUERIES)])
def test_every_query_asks_for_series_and_labels_that_there_are(owner: str, query: str) -> None:
    tree = promql_parser.parse(query)
    asked = list(selectors(tree))
    assert asked or "vector" in query, owner
    for selector in asked:
        assert selector.name in LABELS, f"{owner}: there is no {selector.name}"
        assert {matcher.name for matcher in selector.matchers.matchers} <= LABELS[selector.name]
    for kept, inner in grouped(tree):
        for selector in selectors(inner):
            assert kept <= LABELS[selector.name], f"{owner}: {selector.name} has no {kept - LABELS[selector.name]}"


def test_every_family_that_is_asked_for_is_in_a_scrape(alone: Server) -> None:
    exposed = {metric.name for metric in parse(alone.get("/metrics").body.decode())}
    names = {selector.name for _, query in QUERIES for selector in selectors(promql_parser.parse(query))}
    assert {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in names} <= exposed


def test_the_manifests_ask_for_metrics_that_there_are() -> None:
    text = "".join(path.read_text() for path in (DEPLOY / "kubernetes").rglob("*.yaml"))
    assert set(re.findall(r"\btureen_\w+", text)) <= LABELS.keys()


def test_the_dashboard_shows_every_family() -> None:
    shown = " ".join(query for _, query in QUERIES) + json.dumps(DASHBOARD["templating"])
    missing = {family.exposed for family in (*COUNTED.values(), *READ.values()) if family.name not in shown}
    assert missing <= {"tureen_event_loop_lag_seconds"}  # its maximum is shown


def test_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below
    assert all(place["x"] + place["w"] <= 24 for place in places)


def test_every_variable_of_a_query_is_one_of_the_dashboards() -> None:
    known = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]+)", json.dumps([panel["targets"] for panel in PANELS])))
    assert used <= known


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert rule["annotations"]["runbook"].strip().endswith(".")
    kept = set().union(*[labels for labels, _ in grouped(promql_parser.parse(rule["expr"]))])
    assert set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])) <= kept
    assert re.fullmatch(r"\d+[sm]", rule.get("for", "0s"))
