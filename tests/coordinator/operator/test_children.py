"""What is made for an AIModel."""

from __future__ import annotations

import base64
import json
from typing import Any

import kubernetes_validate
import msgspec
import pytest
from pydantic import SecretStr

from coordinator.operator.wanted.aimodel import RESERVED, AIModel
from coordinator.operator.wanted.children import children
from coordinator.operator.wanted.names import AIMODEL_LABEL, parent_of, selector
from coordinator.operator.wanted.site import Site
from core.settings import load
from tests.coordinator.operator.objects import EVERYTHING, SITE, Object, model
from workernode.settings import WorkerSettings

KEDA = msgspec.structs.replace(SITE, keda=True)
POSTGRES = Site(
    worker_image="registry.example.com/agentos:1",
    bus_url=SecretStr("postgresql://u:secret-of-postgres@postgres/agentos"),
    res_topic_name="res-topic",
)


def by_kind(found: list[Object]) -> dict[str, Object]:
    return {each["kind"]: each for each in found}


def child(kind: str, of: AIModel, site: Site = SITE, replicas: int | None = 1) -> Object:
    return by_kind(children(of, site, replicas))[kind]


def pod(of: AIModel, site: Site = SITE) -> Object:
    spec: Object = child("Deployment", of, site)["spec"]["template"]["spec"]
    return spec


def variables(of: AIModel, site: Site = SITE) -> dict[str, Object]:
    return {each["name"]: each for each in pod(of, site)["containers"][0]["env"]}


def decoded(secret: Object) -> dict[str, str]:
    return {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}


def settings(of: AIModel, site: Site) -> WorkerSettings:
    """As a worker of these Pods would read them."""
    secret = decoded(child("Secret", of, site))
    environ = {}
    for name, each in variables(of, site).items():
        kept = secret.get(each.get("valueFrom", {}).get("secretKeyRef", {}).get("key", ""), "")
        environ[name] = each.get("value", kept).replace("$$", "$")
    return load(WorkerSettings, environ=environ | {"AGENTOS_NODE_NAME": "gpt-deployment-7-x"})


@pytest.mark.parametrize("spec", [{}, EVERYTHING, {"apiKeySecretRef": {"name": "s"}}], ids=["least", "all", "ref"])
@pytest.mark.parametrize("site", [SITE, KEDA, POSTGRES], ids=["pulsar", "keda", "postgres"])
def test_what_is_made_is_valid(spec: dict[str, Any], site: Site) -> None:
    made = children(model(msgBacklogThreshold=3, **spec), site, 2)
    assert [each["kind"] for each in made[:4]] == ["Secret", "ServiceAccount", "RoleBinding", "Deployment"]
    for each in made:
        if not each["apiVersion"].startswith("keda.sh"):
            kubernetes_validate.validate(each, "1.33", strict=True)
        assert "status" not in each
        assert "null" not in json.dumps(each)


def test_names_are_as_the_contract_says() -> None:
    made = children(model(msgBacklogThreshold=3), KEDA, None)
    assert {each["kind"]: each["metadata"]["name"] for each in made} == {
        "Secret": "gpt-credentials",
        "ServiceAccount": "gpt-worker",
        "RoleBinding": "gpt-worker-events",
        "Deployment": "gpt-deployment",
        "TriggerAuthentication": "gpt-broker",
        "ScaledObject": "gpt-scaledobject",
    }


def test_everything_is_labelled_owned_and_found_again() -> None:
    for each in children(model(), SITE, 1):
        meta = each["metadata"]
        assert meta["namespace"] == "team-a"
        assert meta["labels"] == {
            "app.kubernetes.io/name": "agentos-worker",
            "app.kubernetes.io/instance": "gpt",
            "app.kubernetes.io/managed-by": "agentos-operator",
            AIMODEL_LABEL: "gpt",
        }
        [owner] = meta["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"]) == ("AIModel", "gpt", "uid-of-gpt")
        assert owner["controller"] is True
        assert owner["blockOwnerDeletion"] is True
        assert parent_of(each) == ("team-a", "gpt")
    assert parent_of({"metadata": {"namespace": "team-a"}}) is None


def test_pods_are_selected_by_what_the_status_tells() -> None:
    spec = child("Deployment", model())["spec"]
    assert spec["template"]["metadata"]["labels"].items() >= spec["selector"]["matchLabels"].items()
    assert selector("gpt") == ",".join(f"{name}={value}" for name, value in spec["selector"]["matchLabels"].items())


def test_the_same_makes_the_same() -> None:
    assert children(model(**EVERYTHING), SITE, 3) == children(model(**EVERYTHING), SITE, 3)


def test_replicas_are_left_alone_where_another_sets_them() -> None:
    assert child("Deployment", model(), replicas=0)["spec"]["replicas"] == 0
    assert "replicas" not in child("Deployment", model(), replicas=None)["spec"]


def test_no_secret_is_in_plain_sight() -> None:
    for site, spec in ((SITE, EVERYTHING), (POSTGRES, EVERYTHING), (KEDA, EVERYTHING | {"msgBacklogThreshold": 1})):
        shown = json.dumps([each for each in children(model(**spec), site, 1) if each["kind"] != "Secret"])
        for secret in ("sk-not-a-key", "token-of-the-broker", "secret-of-postgres"):
            assert secret not in shown
            assert base64.b64encode(secret.encode()).decode() not in shown


def test_the_secret_holds_what_there_is() -> None:
    assert decoded(child("Secret", model(), POSTGRES)) == {"AGENTOS_BUS_URL": POSTGRES.bus_url.get_secret_value()}
    assert decoded(child("Secret", model(apiKey="sk-not-a-key"))) == {
        "API_KEY": "sk-not-a-key",
        "PULSAR_TOKEN": "token-of-the-broker",
    }


def test_pods_roll_when_credentials_change_and_only_then() -> None:
    def annotations(of: AIModel, site: Site = SITE) -> Object:
        found: Object = child("Deployment", of, site)["spec"]["template"]["metadata"]["annotations"]
        return found

    one = annotations(model(apiKey="sk-not-a-key"))
    assert one == annotations(model(apiKey="sk-not-a-key", generation=2, replicas=4))
    assert one != annotations(model(apiKey="sk-another-key"))
    assert one != annotations(model(apiKey="sk-not-a-key", name="other"))
    other_token = msgspec.structs.replace(SITE, pulsar_token=SecretStr("another"))
    assert one != annotations(model(apiKey="sk-not-a-key"), other_token)


def test_a_worker_understands_its_environment() -> None:
    read = settings(model(**EVERYTHING), SITE)
    assert (read.node_type, read.model_name, read.api_url) == ("remote", "gpt-4o", "https://api.openai.com/v1")
    assert (read.pulsar_url, read.pulsar_admin_url) == ("pulsar://pulsar:6650", "http://pulsar:8080/")
    assert read.api_key.get_secret_value() == "sk-not-a-key"
    assert read.pulsar_token.get_secret_value() == "token-of-the-broker"
    assert (read.res_topic_name, read.max_process_num, read.requests_per_minute) == ("res-topic", 32, 500)
    assert (read.aimodel_name, read.aimodel_namespace, read.node_name) == ("gpt", "team-a", "gpt-deployment-7-x")
    assert (read.host, read.port, read.grace_seconds, read.call_timeout_seconds) == ("0.0.0.0", 8082, 120, 120)


def test_a_worker_understands_the_least() -> None:
    read = settings(model(type="local", baseURL="", env=[{"name": "AGENTOS_MODEL_FILE", "value": "/m"}]), POSTGRES)
    assert (read.node_type, read.bus_url) == ("local", POSTGRES.bus_url.get_secret_value())
    assert read.api_key.get_secret_value() == ""


def test_the_operators_variables_are_its_own() -> None:
    for site in (SITE, POSTGRES):
        ours = set(variables(model(apiKey="k"), site)) - {"TMPDIR"}
        assert ours <= RESERVED
    assert set(variables(model(), SITE)) | set(variables(model(), POSTGRES)) == RESERVED | {"TMPDIR"}
    theirs = {"name": "TMPDIR", "value": "/big"}
    [found] = [each for each in pod(model(env=[theirs]))["containers"][0]["env"] if each["name"] == "TMPDIR"]
    assert found == theirs


def test_values_that_look_like_references_are_meant_as_they_are() -> None:
    assert variables(model(model="$(API_KEY) $"))["MODEL_NAME"]["value"] == "$$(API_KEY) $$"
    assert variables(model(env=[{"name": "A", "value": "$(PORT)"}]))["A"]["value"] == "$(PORT)"


def test_the_key_comes_from_where_the_aimodel_says() -> None:
    ours = variables(model(apiKey="k"))["API_KEY"]["valueFrom"]["secretKeyRef"]
    assert ours == {"name": "gpt-credentials", "key": "API_KEY", "optional": True}
    theirs = variables(model(apiKeySecretRef={"name": "openai", "key": "token"}))["API_KEY"]
    assert theirs["valueFrom"]["secretKeyRef"] == {"name": "openai", "key": "token"}


def test_a_pod_has_the_time_that_its_longest_call_needs() -> None:
    assert pod(model(callTimeoutSeconds=120))["terminationGracePeriodSeconds"] == 150


def test_what_the_aimodel_says_of_its_pods_is_taken() -> None:
    spec = pod(model(**EVERYTHING))
    assert spec["containers"][0]["image"] == "registry.example.com/agentos:2"
    assert spec["containers"][0]["resources"] == EVERYTHING["resources"]
    for name in ("nodeSelector", "tolerations", "imagePullSecrets"):
        assert spec[name] == EVERYTHING[name]
    assert pod(model())["containers"][0]["image"] == SITE.worker_image


def test_keda_has_what_its_scaler_needs() -> None:
    assert child("ScaledObject", model(msgBacklogThreshold=3), KEDA)["spec"] == {
        "scaleTargetRef": {"name": "gpt-deployment"},
        "minReplicaCount": 0,
        "maxReplicaCount": 10,
        "triggers": [
            {
                "type": "pulsar",
                "metadata": {
                    "adminURL": "http://pulsar:8080",
                    "topic": "persistent://public/default/model-gpt-4o",
                    "subscription": "model-gpt-4o-subscription",
                    "msgBacklogThreshold": "3",
                    "activationMsgBacklogThreshold": "0",
                    "isPartitionedTopic": "false",
                    "authModes": "bearer",
                },
                "authenticationRef": {"name": "gpt-broker"},
            }
        ],
    }
    login = child("TriggerAuthentication", model(msgBacklogThreshold=3), KEDA)["spec"]
    assert login == {
        "secretTargetRef": [{"parameter": "bearerToken", "name": "gpt-credentials", "key": "PULSAR_TOKEN"}]
    }


def test_keda_is_not_told_of_tokens_that_there_are_not() -> None:
    open_broker = msgspec.structs.replace(KEDA, pulsar_token=SecretStr(""))
    made = by_kind(children(model(msgBacklogThreshold=3), open_broker, None))
    assert "TriggerAuthentication" not in made
    [trigger] = made["ScaledObject"]["spec"]["triggers"]
    assert "authenticationRef" not in trigger
    assert "authModes" not in trigger["metadata"]


def test_a_topic_whose_name_is_encoded_is_encoded_once_more_in_kedas_address() -> None:
    made = child("ScaledObject", model(model="meta-llama/Llama", msgBacklogThreshold=3), KEDA)
    trigger = made["spec"]["triggers"][0]["metadata"]
    assert trigger["topic"] == "persistent://public/default/model-meta-llama%252FLlama"
    assert trigger["subscription"] == "model-meta-llama%2FLlama-subscription"


@pytest.mark.parametrize("spec", [{}, {"scaling": {"max": 2}}, {"scaling": {"max": 2}, "msgBacklogThreshold": 3}])
def test_keda_has_nothing_where_another_scales(spec: dict[str, Any]) -> None:
    assert "ScaledObject" not in by_kind(children(model(**spec), KEDA, 1))
    assert "ScaledObject" not in by_kind(children(model(msgBacklogThreshold=3), SITE, 1))
