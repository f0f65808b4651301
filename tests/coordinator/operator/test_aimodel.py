"""AIModels as they are read."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from coordinator.operator.wanted.aimodel import RESERVED, AIModel, SecretKey, WrongAIModel, named, read
from coordinator.operator.wanted.who import scaler_of, scaling_of
from policy.scaling import Scaling
from tests.coordinator.operator.objects import EVERYTHING, REMOTE, body, model

CRD = Path(__file__).parents[3] / "deploy" / "base" / "crd.yaml"


def test_an_aimodel_of_the_earlier_operator_is_understood() -> None:
    read_model = model(image="worker:1.2", replicas=2, apiKey="sk-not-a-key", msgBacklogThreshold=10)
    assert (read_model.key, read_model.uid, read_model.generation) == (("team-a", "gpt"), "uid-of-gpt", 1)
    assert (read_model.type, read_model.model, read_model.base_url) == ("remote", "gpt-4o", REMOTE["baseURL"])
    assert (read_model.image, read_model.replicas, read_model.slots) == ("worker:1.2", 2, 128)
    assert (read_model.api_key.get_secret_value(), read_model.backlog_threshold) == ("sk-not-a-key", 10)
    assert (read_model.call_timeout_seconds, read_model.scaling, read_model.api_key_secret_ref) == (600, None, None)


def test_what_the_api_server_has_not_filled_in_is_filled_in() -> None:
    assert model(apiKeySecretRef={"name": "openai"}).api_key_secret_ref == SecretKey("openai", "apiKey")
    assert model(scaling={}, maxProcessNum=7).scaling == Scaling(target=7)
    assert model(scaling={"target": None}).scaling == Scaling(target=128)
    assert model(replicas=None, apiKey=None, env=None, scaling=None) == model()
    assert model(image="", apiKey="", baseURL="", type="local").base_url == ""


def test_scaling_is_read_as_it_is_written() -> None:
    written = {"min": 1, "max": 5, "target": 8, "downSeconds": 30, "idleSeconds": 0}
    expected = Scaling(min=1, max=5, target=8, down_seconds=30, idle_seconds=0)
    assert model(scaling=written).scaling == expected


def test_unknown_fields_are_left_alone() -> None:
    assert read(body() | {"spec": REMOTE | {"later": "x", "key": "y", "uid": "z", "generation": 9}}) == model()


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"type": "mock"}, "spec.type: invalid enum value 'mock'"),
        ({"type": None}, "spec: object missing required field `type`"),
        ({"model": ""}, "spec.model: expected `str` of length >= 1"),
        ({"replicas": -1}, "spec.replicas: expected `int` >= 0"),
        ({"replicas": "2"}, "spec.replicas: expected `int`, got `str`"),
        ({"replicas": True}, "spec.replicas: expected `int`, got `bool`"),
        ({"maxProcessNum": 0}, "spec.maxProcessNum: expected `int` >= 1"),
        ({"msgBacklogThreshold": 0}, "spec.msgBacklogThreshold: expected `int` >= 1"),
        ({"baseURL": None}, "spec.baseURL: is missing"),
        ({"baseURL": ""}, "spec.baseURL: is missing"),
        ({"apiKey": "sk-not-a-key", "apiKeySecretRef": {"name": "s"}}, "set one of apiKey and apiKeySecretRef"),
        ({"apiKeySecretRef": {"name": ""}}, "spec.apiKeySecretRef.name: expected `str`"),
        ({"apiKey": ["sk-not-a-key"]}, "spec.apiKey: expected `str`"),
        ({"scaling": {"min": 3, "max": 2}}, "spec.scaling.max: must not be less than min"),
        ({"scaling": {"max": 0}}, "spec.scaling.max: expected `int` >= 1"),
        ({"scaling": {"downSeconds": -1}}, "spec.scaling.downSeconds: expected `float` >= 0"),
        ({"scaling": 3}, "spec.scaling: must be an object"),
        ({"maxProcessNum": "many", "scaling": {}}, "spec.maxProcessNum: expected `int`"),
        ({"env": [{"value": "x"}]}, "spec.env: each variable needs a name"),
        ({"env": [{"name": "PULSAR_URL", "value": "x"}]}, "spec.env: the operator sets PULSAR_URL itself"),
        ({"callTimeoutSeconds": 0}, "spec.callTimeoutSeconds: expected `int` >= 1"),
    ],
)
def test_a_wrong_one_is_refused_with_its_place_and_without_its_key(spec: dict[str, Any], said: str) -> None:
    with pytest.raises(WrongAIModel, match=re.escape(said)) as refused:
        model(**spec)
    assert "sk-not-a-key" not in str(refused.value)


def test_a_name_that_no_label_can_hold_is_refused() -> None:
    assert model(name="n" * 63).name == "n" * 63
    with pytest.raises(WrongAIModel, match=r"metadata\.name"):
        model(name="n" * 64)


@pytest.mark.parametrize("spec", [None, [], "x"])
def test_without_a_spec_it_is_refused(spec: Any) -> None:
    with pytest.raises(WrongAIModel, match="spec: must be an object"):
        read(body() | {"spec": spec})


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(sorted([*EVERYTHING, "scaling", "apiKeySecretRef"])), _JSON))
def test_whatever_a_spec_is_it_is_read_or_refused(spec: dict[str, Any]) -> None:
    with contextlib.suppress(WrongAIModel):
        assert isinstance(read(body() | {"spec": REMOTE | spec}), AIModel)


def test_a_key_is_not_shown() -> None:
    assert "sk-not-a-key" not in repr(model(apiKey="sk-not-a-key"))


def test_the_api_server_refuses_the_same_variables() -> None:
    definition = yaml.safe_load(CRD.read_text())
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    name = schema["properties"]["spec"]["properties"]["env"]["items"]["properties"]["name"]
    assert set(re.findall(r"'(\w+)'", name["x-kubernetes-validations"][0]["rule"])) == RESERVED


def test_an_object_is_known_by_namespace_and_name() -> None:
    assert named(body(name="a", namespace="b")) == ("b", "a")


def test_exactly_one_decides_on_the_replicas() -> None:
    by_hand, threshold, scaled = model(), model(msgBacklogThreshold=5), model(scaling={"max": 3})
    both = model(msgBacklogThreshold=5, scaling={"max": 3})
    assert [scaler_of(each, keda=True) for each in (by_hand, threshold, scaled, both)] == [
        "spec",
        "keda",
        "backlog",
        "backlog",
    ]
    assert scaler_of(threshold, keda=False) == "backlog"
    assert scaling_of(by_hand) is None
    assert scaling_of(threshold) == Scaling(min=0, max=10, target=5)
    assert scaling_of(both) == scaling_of(scaled) == Scaling(max=3, target=128)
