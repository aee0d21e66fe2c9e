"""The Kubernetes manifests are valid, and their numbers fit each other, the configuration and the server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from models.manifest import Manifest
from service.config import Config
from service.metrics import families
from service.processes.crew import CLOSING_S

KUBERNETES = Path(__file__).parents[2] / "deploy" / "kubernetes"
#: The oldest version that the manifests are for, by the preStop hook's sleep, and the newest one that is known here.
VERSIONS = ("1.30", "1.37")
NATIVE = sorted(KUBERNETES.glob("*.yaml"))
LABEL = {"app.kubernetes.io/name": "tureen"}
HOUR_S = 3600

Json = dict[str, Any]


def documents(path: Path) -> Iterator[Json]:
    for document in yaml.safe_load_all(path.read_text()):
        if document is not None:
            yield document


def one(kind: str) -> Json:
    (found,) = [document for path in NATIVE for document in documents(path) if document["kind"] == kind]
    return found


@pytest.fixture(scope="module")
def pod() -> Json:
    spec: Json = one("Deployment")["spec"]["template"]["spec"]
    return spec


@pytest.fixture(scope="module")
def container(pod: Json) -> Json:
    (only,) = pod["containers"]
    found: Json = only
    return found


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """What a pod is configured to, by the ConfigMap and its own environment."""
    file = tmp_path_factory.mktemp("etc") / "tureen.toml"
    file.write_text(one("ConfigMap")["data"]["tureen.toml"])
    return Config.resolve(file, {}, {})


def seconds(probe: Json) -> int:
    """How long a probe waits until it has failed for good."""
    return int(probe["periodSeconds"]) * int(probe["failureThreshold"])


def environment(container: Json) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in container.get("env", ())}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", NATIVE, ids=[path.name for path in NATIVE])
def test_each_manifest_is_valid_with_no_field_that_kubernetes_does_not_know(path: Path, version: str) -> None:
    for document in documents(path):
        assert kubernetes_validate.validate(document, version, strict=True) == version


def test_a_wrong_manifest_would_be_found() -> None:
    deployment = one("Deployment")
    deployment["spec"]["replica"] = 2
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, VERSIONS[0], strict=True)


def test_every_object_of_a_deployment_is_there_once() -> None:
    kinds = [document["kind"] for path in NATIVE for document in documents(path)]
    assert sorted(kinds) == [
        "ConfigMap",
        "Deployment",
        "HorizontalPodAutoscaler",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Service",
        "ServiceAccount",
    ]


def test_selectors_match_the_pods(pod: Json) -> None:
    deployment = one("Deployment")["spec"]
    assert deployment["template"]["metadata"]["labels"] == LABEL
    assert deployment["selector"]["matchLabels"] == LABEL
    assert one("Service")["spec"]["selector"] == LABEL
    assert one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == LABEL
    assert one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == LABEL
    assert all(spread["labelSelector"]["matchLabels"] == LABEL for spread in pod["topologySpreadConstraints"])


def test_pods_have_time_to_drain_before_they_are_killed(pod: Json, container: Json, config: Config) -> None:
    sleep = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] >= sleep + config.drain.delay_s + config.drain.timeout_s + CLOSING_S


def test_readiness_has_failed_before_connections_are_refused(container: Json, config: Config) -> None:
    assert seconds(container["readinessProbe"]) < config.drain.delay_s


def test_requests_may_take_as_long_as_their_default_deadline_while_the_server_drains(config: Config) -> None:
    assert config.drain.timeout_s > Manifest().batching.timeout_ms / 1000


def test_loading_may_take_minutes_and_ends_before_the_rollout_is_called_failed(container: Json) -> None:
    assert 300 <= seconds(container["startupProbe"]) < one("Deployment")["spec"]["progressDeadlineSeconds"] < HOUR_S


def test_liveness_asks_what_a_full_queue_does_not_change_and_is_patient(container: Json) -> None:
    probe = container["livenessProbe"]
    assert probe["httpGet"]["path"] == "/v2/health/live"
    assert seconds(probe) >= 60


def test_probes_and_the_service_ask_the_port_that_is_listened_on(container: Json, config: Config) -> None:
    (port,) = container["ports"]
    assert (port["name"], port["containerPort"]) == ("http", config.bind.port)
    assert not config.bind.loopback
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[name]["httpGet"]["port"] == "http"
    assert one("Service")["spec"]["ports"][0]["targetPort"] == "http"


def test_admin_routes_are_inside_the_pod_alone(container: Json, config: Config) -> None:
    assert config.admin.bind is not None
    assert config.admin.bind.loopback
    assert config.admin.bind.port not in [port["containerPort"] for port in container["ports"]]
    assert [port["targetPort"] for port in one("Service")["spec"]["ports"]] == ["http"]


def test_cpus_follow_from_workers_and_threads(container: Json, config: Config) -> None:
    threads = int(environment(container)["OMP_NUM_THREADS"])
    assert threads == int(environment(container)["OPENBLAS_NUM_THREADS"]) == Manifest().runtime.threads
    assert int(container["resources"]["requests"]["cpu"]) == config.workers * threads
    assert int(container["resources"]["limits"]["cpu"]) == config.workers * (threads + 1)


def test_memory_is_not_lent(container: Json) -> None:
    assert container["resources"]["requests"]["memory"] == container["resources"]["limits"]["memory"]


def test_the_container_has_no_rights(pod: Json, container: Json) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] >= 10_000
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_there_is_no_token_to_steal_and_no_service_in_the_environment(pod: Json) -> None:
    assert pod["automountServiceAccountToken"] is False
    assert one("ServiceAccount")["automountServiceAccountToken"] is False
    assert pod["serviceAccountName"] == one("ServiceAccount")["metadata"]["name"]
    assert pod["enableServiceLinks"] is False


def test_whatever_is_written_has_a_volume_of_bounded_size(pod: Json, container: Json, config: Config) -> None:
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
    assert set(mounts) == {"/etc/tureen", "/tmp", str(config.store.state_dir)}
    assert mounts["/etc/tureen"]["configMap"]["name"] == one("ConfigMap")["metadata"]["name"]
    assert all(mounts[path]["emptyDir"]["sizeLimit"] for path in ("/tmp", str(config.store.state_dir)))


def test_only_named_clients_reach_only_the_port_and_nothing_goes_out() -> None:
    policy = one("NetworkPolicy")["spec"]
    assert sorted(policy["policyTypes"]) == ["Egress", "Ingress"]
    assert policy["egress"] == []
    (rule,) = policy["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": "http"}]
    assert rule["from"]
    assert all(peer.get("podSelector") or peer.get("namespaceSelector") for peer in rule["from"])


def test_a_rollout_and_a_disruption_leave_what_serves() -> None:
    rolling = one("Deployment")["spec"]["strategy"]["rollingUpdate"]
    assert rolling == {"maxUnavailable": 0, "maxSurge": 1}
    assert one("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    assert one("HorizontalPodAutoscaler")["spec"]["minReplicas"] >= 2


def test_the_autoscaler_alone_sets_the_replicas() -> None:
    assert "replicas" not in one("Deployment")["spec"]
    target = one("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", one("Deployment")["metadata"]["name"])


def test_the_autoscaler_asks_for_a_gauge_of_ours_by_a_rule_of_the_adapter() -> None:
    (metric,) = [metric["pods"] for metric in one("HorizontalPodAutoscaler")["spec"]["metrics"] if metric["type"] == "Pods"]
    (values,) = documents(KUBERNETES / "monitoring" / "prometheus-adapter.yaml")
    (rule,) = values["rules"]["custom"]
    assert set(rule) == {"seriesQuery", "resources", "name", "metricsQuery"}
    assert metric["metric"]["name"] == rule["name"]["as"] == families.QUEUED.exposed
    assert families.QUEUED.kind == "gauge"
    assert rule["seriesQuery"] == f'{families.QUEUED.exposed}{{namespace!="",pod!=""}}'
    assert re.fullmatch(rule["name"]["matches"], families.QUEUED.exposed)
    for field in ("<<.Series>>", "<<.LabelMatchers>>", "<<.GroupBy>>"):
        assert field in rule["metricsQuery"]


def test_the_pod_monitor_has_only_fields_of_its_definition() -> None:
    (monitor,) = documents(KUBERNETES / "monitoring" / "podmonitor.yaml")
    assert (monitor["apiVersion"], monitor["kind"]) == ("monitoring.coreos.com/v1", "PodMonitor")
    assert set(monitor["spec"]) == {"selector", "podMetricsEndpoints"}
    assert monitor["spec"]["selector"]["matchLabels"] == LABEL
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert set(endpoint) <= {"port", "path", "scheme", "interval", "scrapeTimeout", "honorLabels"}
    assert (endpoint["port"], endpoint["path"]) == ("http", "/metrics")


def test_prometheus_finds_the_port_by_annotations_too(config: Config) -> None:
    assert one("Deployment")["spec"]["template"]["metadata"]["annotations"] == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(config.bind.port),
        "prometheus.io/path": "/metrics",
    }
