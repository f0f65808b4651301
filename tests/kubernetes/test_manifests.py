"""What deploy/ says, without a cluster: schemas, security, and that it fits the programs that it starts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from agentos.parts.pulsar_config import SETTINGS
from coordinator.operator.settings import OperatorSettings
from coordinator.operator.wanted.aimodel import RESERVED
from coordinator.settings import CoordinatorSettings
from core.settings import INTERNAL_NAMES, Settings
from tests.kubernetes.kubectl import DEPLOY, rendered

pytestmark = [pytest.mark.kubernetes, pytest.mark.xdist_group("kubernetes")]

Object = dict[str, Any]

DIRECTORIES = {"base": DEPLOY, "dev": DEPLOY / "overlays" / "dev", "production": DEPLOY / "overlays" / "production"}
# docs/kubernetes.md names the oldest.
VERSIONS = ("1.30", "1.33", "1.36")
WORKLOADS = {"Deployment", "StatefulSet"}
UID = 10001


@pytest.fixture(params=DIRECTORIES)
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> list[Object]:
    """Of the base and of each overlay."""
    return rendered(DIRECTORIES[request.param], tmp_path)


@pytest.fixture
def base(tmp_path: Path) -> list[Object]:
    return rendered(DEPLOY, tmp_path)


def templates(objects: list[Object]) -> Iterator[Object]:
    """The specs of all Pods."""
    yield from (each["spec"]["template"]["spec"] for each in objects if each["kind"] in WORKLOADS)


def containers(pod: Object) -> list[Object]:
    return [*pod["containers"], *pod.get("initContainers", [])]


def deployment(objects: list[Object], name: str) -> Object:
    """The Pod spec of one."""
    found = {each["metadata"]["name"]: each for each in objects if each["kind"] == "Deployment"}
    spec: Object = found[name]["spec"]["template"]["spec"]
    return spec


def variables(container: Object) -> Object:
    return {each["name"]: each.get("value") for each in container["env"]}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_fits_the_schemas_of_kubernetes(objects: list[Object], version: str) -> None:
    for each in objects:
        assert kubernetes_validate.validate(each, version, strict=True) == version


def test_nothing_is_said_of_a_field_by_mistake() -> None:
    """A comma in a text between braces makes a field without a value, which kubectl may pass over."""
    for file in DEPLOY.rglob("*.yaml"):
        for document in yaml.safe_load_all(file.read_text()):
            assert [path for path, value in fields(document) if value is None] == [], file


def fields(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value, by where it is."""
    yield path, value
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        yield from fields(part, f"{path}.{name}")


def test_every_container_has_the_least_that_it_needs(objects: list[Object]) -> None:
    for pod in templates(objects):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["enableServiceLinks"] is False  # variables AGENTOS_… would be refused as unknown settings
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert container["resources"]["limits"].keys() == {"cpu", "memory"}


def test_only_the_operator_has_a_token(objects: list[Object]) -> None:
    with_token = [pod.get("serviceAccountName") for pod in templates(objects) if pod["automountServiceAccountToken"]]
    assert with_token == ["agentos-operator"]


def test_no_right_is_for_everything(objects: list[Object]) -> None:
    for each in objects:
        for rule in each.get("rules", []):
            assert all("*" not in name for names in rule.values() for name in names), each["metadata"]["name"]


@pytest.mark.parametrize(("name", "settings"), [("operator", OperatorSettings), ("coordinator", CoordinatorSettings)])
def test_a_program_knows_what_it_is_told(objects: list[Object], name: str, settings: type[Settings]) -> None:
    container = deployment(objects, f"agentos-{name}")["containers"][0]
    assert container["command"] == ["agentos", name]
    assert variables(container).keys() <= settings.variables().keys() | INTERNAL_NAMES


def test_the_operator_is_not_told_of_the_database(objects: list[Object]) -> None:
    container = deployment(objects, "agentos-operator")["containers"][0]
    assert "AGENTOS_DATABASE_URL" not in variables(container)
    assert "envFrom" not in container


def test_workers_run_the_operators_image(objects: list[Object]) -> None:
    container = deployment(objects, "agentos-operator")["containers"][0]
    assert variables(container)["AGENTOS_WORKER_IMAGE"] == container["image"]


def test_the_longest_request_is_over_before_a_coordinator_is_killed(objects: list[Object]) -> None:
    pod = deployment(objects, "agentos-coordinator")
    container = pod["containers"][0]
    grace = float(variables(container)["AGENTOS_GRACE_SECONDS"])
    # Who still waits after 9/10 of it is told that the coordinator stops.
    assert CoordinatorSettings.model_fields["request_timeout_seconds"].default < 0.9 * grace
    assert grace + container["lifecycle"]["preStop"]["sleep"]["seconds"] < pod["terminationGracePeriodSeconds"]


def test_services_budgets_and_network_policies_are_about_pods_that_there_are(objects: list[Object]) -> None:
    names = {each["spec"]["selector"]["matchLabels"][NAME] for each in objects if each["kind"] in WORKLOADS}
    ports = {port["name"] for pod in templates(objects) for each in pod["containers"] for port in each["ports"]}
    for each in objects:
        spec = each.get("spec", {})
        if each["kind"] == "Service":
            assert spec["selector"][NAME] in names
            assert {port.get("targetPort", port["name"]) for port in spec["ports"]} <= ports
        elif each["kind"] in ("PodDisruptionBudget", "NetworkPolicy"):
            assert set(selected(spec.get("selector") or spec["podSelector"])) <= names


NAME = "app.kubernetes.io/name"


def selected(selector: Object) -> Iterator[str]:
    """The names that a selector is about."""
    yield from selector.get("matchLabels", {}).values()
    yield from (name for each in selector.get("matchExpressions", []) for name in each["values"])


def test_the_definition_refuses_the_variables_that_the_operator_sets(base: list[Object]) -> None:
    definition = next(each for each in base if each["kind"] == "CustomResourceDefinition")
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    rule = schema["env"]["items"]["properties"]["name"]["x-kubernetes-validations"][0]["rule"]
    assert set(re.findall("'([A-Z_]+)'", rule)) == RESERVED


def test_the_image_runs_as_the_user_that_pods_ask_for(base: list[Object]) -> None:
    dockerfile = (DEPLOY.parent / "Dockerfile").read_text()
    assert f"\nUSER {UID}:{UID}\n" in dockerfile  # by number: Kubernetes does not look names up
    assert {pod["securityContext"]["runAsUser"] for pod in templates(base)} == {UID}


def test_the_small_pulsar_is_set_as_that_of_agentos_up(tmp_path: Path) -> None:
    pods = [each for each in rendered(DIRECTORIES["dev"], tmp_path) if each["metadata"]["name"] == "pulsar"]
    script = next(templates(pods))["initContainers"][0]["command"][-1]
    settings = dict(line.strip().split("=", 1) for line in script.splitlines() if re.match(r"\s*\w+=", line))
    assert settings.pop("advertisedAddress") == "pulsar.agentos.svc"
    assert settings == {name: value for name, value in SETTINGS.items() if not name.endswith("Address")}


def test_production_is_larger(tmp_path: Path, base: list[Object]) -> None:
    production = rendered(DIRECTORIES["production"], tmp_path)
    found = next(each for each in production if each["metadata"]["name"] == "agentos-coordinator" and "spec" in each)
    assert found["spec"]["replicas"] == 3
    for name in ("agentos-coordinator", "agentos-operator"):
        ours, larger = (deployment(each, name)["containers"][0]["resources"] for each in (base, production))
        assert ours["requests"] != larger["requests"]
