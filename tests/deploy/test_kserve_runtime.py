"""The KServe objects have only fields that KServe's own SDK knows, and a model gets the name that it is asked by."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kserve.models
import kubernetes.client.models
import pytest
import yaml
from onnx_graphs import echo, write

from service.config import Config
from service.processes.crew import CLOSING_S
from tests.e2e.served import serving

KSERVE = Path(__file__).parents[2] / "deploy" / "kserve"
#: Kubernetes' own, where a pod says nothing.
GRACE_S = 30
#: Of the Go types that the SDK's `PodSpec` and the like are generated from, their fields are inlined.
INLINED = {"V1alpha1ServingRuntimeSpec": "V1PodSpec", "V1beta1PredictorSpec": "V1PodSpec", "V1beta1ModelSpec": "V1Container"}


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((KSERVE / name).read_text())
    return found


def fields(kind: str) -> dict[str, str]:
    """A type's fields, as YAML writes them, with their types."""
    found = getattr(kserve.models, kind, None) or getattr(kubernetes.client.models, kind)
    own = {found.attribute_map[name]: type_ for name, type_ in found.openapi_types.items()}
    return {**(fields(INLINED[kind]) if kind in INLINED else {}), **own}


def mistakes(content: Any, kind: str, path: str) -> list[str]:
    """What of a tree is not of that type of the SDK's."""
    inner = re.fullmatch(r"(?:list|dict)[\[(](?:str, )?(\w+)[\])]", kind, re.IGNORECASE)
    if inner:
        parts = content.items() if isinstance(content, dict) else enumerate(content)
        return [wrong for key, part in parts for wrong in mistakes(part, inner[1], f"{path}[{key}]")]
    plain: dict[str, type | tuple[type, ...]] = {"str": str, "int": int, "bool": bool, "float": (int, float), "object": object}
    if kind in plain:
        return [] if isinstance(content, plain[kind]) else [f"{path} is no {kind}"]
    if kind in ("IntOrString", "V1ObjectMeta", "KnativeURL"):
        return []
    known = fields(kind)
    return [
        wrong
        for key, part in content.items()
        for wrong in (mistakes(part, known[key], f"{path}.{key}") if key in known else [f"{path} has no {key}"])
    ]


@pytest.mark.parametrize(
    ("file", "api", "kind"),
    [
        ("servingruntime.yaml", "serving.kserve.io/v1alpha1", "V1alpha1ServingRuntime"),
        ("inferenceservice.yaml", "serving.kserve.io/v1beta1", "V1beta1InferenceService"),
    ],
)
def test_each_object_has_only_fields_that_kserve_knows(file: str, api: str, kind: str) -> None:
    found = read(file)
    assert (found["apiVersion"], f"V1{found['kind']}") == (api, re.sub(r"^V1\w*?\d", "V1", kind))
    assert mistakes(found, kind, found["kind"]) == []


def test_a_field_that_kserve_does_not_know_would_be_found() -> None:
    wrong = {"spec": {"protocolVersion": ["v2"], "containers": [{"name": "x", "arg": []}]}}
    assert mistakes(wrong, "V1alpha1ServingRuntime", "it") == ["it.spec has no protocolVersion", "it.spec.containers[0] has no arg"]


def test_the_runtime_is_what_the_service_asks_for() -> None:
    runtime, model = read("servingruntime.yaml"), read("inferenceservice.yaml")["spec"]["predictor"]["model"]
    formats = {format_["name"]: format_ for format_ in runtime["spec"]["supportedModelFormats"]}
    assert set(formats) == {"onnx", "lightgbm", "python"}
    assert formats["python"]["autoSelect"] is False  # code runs only where somebody asked for this runtime
    assert runtime["spec"]["protocolVersions"] == ["v2", "v1"]
    assert model["runtime"] == runtime["metadata"]["name"]
    assert model["modelFormat"]["name"] in formats
    assert model["protocolVersion"] in runtime["spec"]["protocolVersions"]


@pytest.fixture(scope="module")
def container() -> dict[str, Any]:
    (only,) = read("servingruntime.yaml")["spec"]["containers"]
    found: dict[str, Any] = only
    return found


@pytest.fixture(scope="module")
def config(container: dict[str, Any]) -> Config:
    """What the container's variables make."""
    environ = {variable["name"]: variable["value"] for variable in container["env"]}
    return Config.resolve(None, environ, {})


def test_the_container_is_the_one_that_kserve_looks_for(container: dict[str, Any], config: Config) -> None:
    assert container["name"] == "kserve-container"
    assert container["ports"] == [{"containerPort": config.bind.port, "protocol": "TCP"}]
    assert read("servingruntime.yaml")["spec"]["annotations"]["prometheus.kserve.io/port"] == str(config.bind.port)
    assert {container[probe]["httpGet"]["port"] for probe in ("readinessProbe", "livenessProbe")} == {config.bind.port}


def test_the_drain_fits_the_time_that_kserve_gives_a_pod(config: Config) -> None:
    assert config.drain.delay_s + config.drain.timeout_s + CLOSING_S <= GRACE_S


def test_the_container_has_no_rights(container: dict[str, Any]) -> None:
    rights = container["securityContext"]
    assert rights["runAsNonRoot"] is True
    assert rights["readOnlyRootFilesystem"] is True
    assert rights["allowPrivilegeEscalation"] is False
    assert rights["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("layout", ["model.onnx", "classifier.onnx", "1/model.onnx", "digits/1/model.onnx"])
def test_whatever_layout_was_fetched_is_served_under_the_services_name(
    container: dict[str, Any], tmp_path: Path, layout: str
) -> None:
    fetched = tmp_path / "mnt" / "models"
    (fetched / layout).parent.mkdir(parents=True)
    write(echo("FP32"), tmp_path).rename(fetched / layout)
    command, where, *options = [argument.replace("{{.Name}}", "digits") for argument in container["args"]]
    assert (command, where) == ("serve", "/mnt/models")
    with serving(fetched, *options, cwd=tmp_path) as server:
        assert server.get("/v2/models/digits/ready").status == 200
        assert server.post("/v1/models/digits:predict", {"instances": [[1, 2]]}).json() == {"predictions": [[1, 2]]}
