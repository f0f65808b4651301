"""What is known of AIModels, and when they are looked at."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest

from coordinator.operator.cluster.kinds import AIMODELS, DEPLOYMENTS, EVENTS
from coordinator.operator.reconcile.known import Known
from coordinator.operator.reconcile.record import handed_over, owns_replicas
from coordinator.operator.wanted.aimodel import Key
from coordinator.operator.wanted.names import labels
from tests.coordinator.operator import objects
from tests.coordinator.operator.objects import Object

KEY = ("team-a", "gpt")


class Bench:
    """What is known, and what was asked for."""

    def __init__(self) -> None:
        self.looked: list[Key] = []
        self.forgotten: list[Key] = []
        self.known = Known(objects.SITE, lambda key, _: self.looked.append(key), self.forgotten.append)

    def looks(self) -> list[Key]:
        """Since it was asked last."""
        looked, self.looked[:] = list(self.looked), []
        return looked


@pytest.fixture
def bench() -> Bench:
    return Bench()


def versioned(body: Object, version: int, **metadata: Any) -> Object:
    made = copy.deepcopy(body)
    made["metadata"] |= {"resourceVersion": str(version), **metadata}
    return made


def aimodel(version: int, uid: str = "uid", **spec: Any) -> Object:
    return versioned(objects.body(**spec), version, uid=uid)


def deployment(version: int, replicas: int = 1, uid: str = "d", **metadata: Any) -> Object:
    marks = {"uid": uid, "labels": labels("gpt"), **metadata}
    return versioned(objects.deployed(replicas), version, **marks)


def warning(version: int, **fields: Any) -> Object:
    about = {"apiVersion": "model.youxam.com/v1alpha1", "kind": "AIModel", "name": "gpt", "namespace": "team-a"}
    at = "2026-06-01T00:00:00Z"
    metadata = {"name": f"e{version}", "namespace": "team-a", "uid": f"e{version}", "resourceVersion": str(version)}
    told = {"type": "Warning", "reason": "GeneralError", "message": "It fails.", "lastTimestamp": at}
    return {"metadata": metadata, "involvedObject": about, "source": {"component": "agentos-worker"}} | told | fields


def test_news_are_looked_at_and_repeats_are_not(bench: Bench) -> None:
    for _ in range(2):
        bench.known.streamed(AIMODELS, aimodel(1), deleted=False)
        bench.known.streamed(DEPLOYMENTS, deployment(2), deleted=False)
        bench.known.streamed(EVENTS, warning(3), deleted=False)
    assert bench.looks() == [KEY, KEY, KEY]
    record = bench.known.find(KEY)
    assert record is not None
    assert record.news.failure is not None
    bench.known.wrote_model(aimodel(4))
    bench.known.wrote_deployment(deployment(5))
    assert bench.looks() == []


def test_a_deployment_may_be_known_before_its_aimodel(bench: Bench) -> None:
    bench.known.streamed(DEPLOYMENTS, deployment(1), deleted=False)
    bench.known.streamed(AIMODELS, aimodel(2), deleted=False)
    record = bench.known.find(KEY)
    assert record is not None
    there = [record.deployment is not None]
    bench.looks()
    bench.known.streamed(DEPLOYMENTS, deployment(3), deleted=True)
    there.append(record.deployment is not None)
    assert there == [True, False]
    assert bench.looks() == [KEY]


def test_another_of_the_same_name_is_another(bench: Bench) -> None:
    """kopf tells of each object in its own order."""
    bench.known.streamed(AIMODELS, aimodel(1, "first"), deleted=False)
    bench.known.streamed(EVENTS, warning(2), deleted=False)
    bench.known.streamed(AIMODELS, aimodel(5, "second"), deleted=False)
    bench.known.streamed(AIMODELS, aimodel(4, "first"), deleted=True)
    record = bench.known.find(KEY)
    assert record is not None
    assert record.uid == "second"
    assert record.news.failure is None
    assert bench.forgotten == []
    bench.known.streamed(DEPLOYMENTS, deployment(7, uid="new"), deleted=False)
    bench.known.streamed(DEPLOYMENTS, deployment(6, uid="old"), deleted=True)
    assert record.deployment is not None
    bench.known.listed(AIMODELS, [], "9", "team-a", now=0.0)
    assert bench.known.find(KEY) is None
    assert bench.forgotten == [KEY]


def test_one_that_cannot_be_read_is_known_as_wrong_and_holds_up_nobody(bench: Bench) -> None:
    broken = {"metadata": {"name": "broken", "namespace": "team-a", "uid": "b", "resourceVersion": "1"}}
    bench.known.listed(AIMODELS, [broken, aimodel(2, type="cloud")], "3", "", now=0.0)
    record = bench.known.find(KEY)
    assert record is not None
    assert record.model is None
    status = record.status_now(keda=False, now=0.0)
    assert status["state"] == "Failed"
    assert "spec.type" in status["message"]


def test_keda_that_comes_or_goes_is_news_for_all(bench: Bench) -> None:
    bench.known.streamed(AIMODELS, aimodel(1, msgBacklogThreshold=5), deleted=False)
    bench.looks()
    bench.known.set_keda(True)
    bench.known.set_keda(True)
    assert bench.looks() == [KEY]
    assert bench.known.site.keda


def test_who_says_how_many(bench: Bench) -> None:
    bench.known.streamed(AIMODELS, aimodel(1, scaling={"min": 1, "max": 4, "target": 2}), deleted=False)
    record = bench.known.find(KEY)
    assert record is not None
    assert record.replicas(keda=True) == 1  # nobody has said anything yet
    bench.known.streamed(DEPLOYMENTS, deployment(2, replicas=3), deleted=False)
    assert record.replicas(keda=True) == 3  # the scaler has not spoken since this operator leads
    record.wanted = 9
    assert record.replicas(keda=True) == 4
    bench.known.streamed(AIMODELS, aimodel(3, msgBacklogThreshold=5), deleted=False)
    assert record.replicas(keda=True) is None
    assert record.replicas(keda=False) == 9
    bench.known.streamed(DEPLOYMENTS, deployment(4), deleted=True)
    assert record.replicas(keda=True) == 0
    bench.known.streamed(AIMODELS, aimodel(5, replicas=7), deleted=False)
    assert record.replicas(keda=True) == 7


def test_only_what_is_due_is_applied(bench: Bench) -> None:
    bench.known.streamed(AIMODELS, aimodel(1), deleted=False)
    record = bench.known.find(KEY)
    assert record is not None
    children = [{"kind": "Secret", "data": {}}, {"kind": "Deployment", "spec": {"replicas": 1}}]
    assert record.due(children) == children
    record.note_applied(children[0])
    record.note_applied(children[1])
    assert record.due(children) == children[1:]  # it is not there
    bench.known.streamed(DEPLOYMENTS, deployment(2, generation=3), deleted=False)
    record.generation = 3
    assert record.due(children) == []
    assert record.due([children[0] | {"data": {"a": "b"}}, children[1]]) == [children[0] | {"data": {"a": "b"}}]
    bench.known.streamed(DEPLOYMENTS, deployment(3, generation=4), deleted=False)
    assert record.due(children) == children[1:]
    bench.known.apply_again(lambda: 1.0)
    assert record.due(children) == children


def test_pods_are_looked_at_only_when_it_takes_long_and_then_ever_less_often(bench: Bench) -> None:
    bench.known.streamed(AIMODELS, aimodel(1, replicas=2), deleted=False)
    bench.known.streamed(DEPLOYMENTS, deployment(2, replicas=2), deleted=False)
    record = bench.known.find(KEY)
    assert record is not None
    assert not record.pods_due(False, 0.0)
    assert record.pods_in(0.0) is None
    unready = objects.deployed(2, ready=1)
    bench.known.streamed(DEPLOYMENTS, versioned(unready, 3, uid="d", labels=labels("gpt")), deleted=False)
    looks = [now for now in range(300) if record.pods_due(False, float(now))]
    assert looks == [10, 30, 70, 130, 190, 250]
    assert record.pods_in(299.0) == 11.0


def test_who_owns_the_number_is_read_from_the_managers() -> None:
    def managed(manager: str, operation: str, spec: Object) -> Object:
        entry = {"manager": manager, "operation": operation, "fieldsV1": {"f:spec": spec}}
        return deployment(1, managedFields=[entry])

    assert owns_replicas(managed("agentos-operator", "Apply", {"f:replicas": {}}))
    assert not owns_replicas(managed("agentos-operator", "Apply", {"f:template": {}}))
    assert not owns_replicas(managed("keda", "Update", {"f:replicas": {}}))
    assert not owns_replicas(None)
    assert handed_over(deployment(1, replicas=3)) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "gpt-deployment", "namespace": "team-a"},
        "spec": {"replicas": 3},
    }


def test_a_failure_that_is_over_is_forgotten(bench: Bench) -> None:
    bench.known.streamed(AIMODELS, aimodel(1), deleted=False)
    bench.known.streamed(EVENTS, warning(2), deleted=False)
    record = bench.known.find(KEY)
    assert record is not None
    failure = record.failure(0.0)
    assert failure is not None
    assert record.status_now(False, failure.at)["state"] == "Failed"
    changed = msgspec.structs.replace(record.model, generation=2) if record.model else None
    record.model = changed
    assert record.failure(failure.at) is None
    assert record.status_now(False, failure.at)["state"] == "Pending"
