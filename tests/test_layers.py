"""The layers point one way (see ARCHITECTURE.md)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "core": set[str](),
    "bus": {"core"},
    "store": {"core"},
    "workernode": {"core", "bus", "policy"},
    "policy": {"core"},
    "coordinator": {"core", "bus", "store", "policy"},
    "workload": {"core", "policy"},
    "agentos": {"core", "bus", "store", "workernode", "coordinator", "policy", "workload"},
}
# Decisions do no I/O: these files import nothing that could.
PURE = [
    "agentos/replicas.py",
    "bus/billing.py",
    "bus/messages.py",
    "bus/nodes.py",
    "bus/operations.py",
    "bus/pulsar/deliveries.py",
    "bus/topics.py",
    "coordinator/bodies.py",
    "coordinator/crew.py",
    "coordinator/envelope.py",
    "coordinator/noderesult.py",
    "coordinator/openai.py",
    "coordinator/operator/wanted/aimodel.py",
    "coordinator/operator/wanted/children.py",
    "coordinator/operator/state/conditions.py",
    "coordinator/operator/wanted/credentials.py",
    "coordinator/operator/wanted/environment.py",
    "coordinator/operator/state/failures.py",
    "coordinator/operator/wanted/keda.py",
    "coordinator/operator/wanted/names.py",
    "coordinator/operator/cluster/kinds.py",
    "coordinator/operator/reconcile/known.py",
    "coordinator/operator/cluster/lease.py",
    "coordinator/operator/reconcile/mistakes.py",
    "coordinator/operator/reconcile/objects.py",
    "coordinator/operator/reconcile/queue.py",
    "coordinator/operator/reconcile/record.py",
    "coordinator/operator/cluster/health.py",
    "coordinator/operator/state/podtrouble.py",
    "coordinator/operator/state/rollout.py",
    "coordinator/operator/wanted/site.py",
    "coordinator/operator/state/status.py",
    "coordinator/operator/state/texts.py",
    "coordinator/operator/wanted/who.py",
    "coordinator/operator/wanted/workers.py",
    "coordinator/operator/scaling/orders.py",
    "coordinator/operator/scaling/shares.py",
    "coordinator/operator/scaling/turns.py",
    "coordinator/planning/counting.py",
    "coordinator/planning/office.py",
    "bus/scaling.py",
    "coordinator/tasks/board.py",
    "coordinator/tasks/budget.py",
    "coordinator/graph/checking.py",
    "coordinator/graph/course.py",
    "coordinator/tasks/demands.py",
    "coordinator/graph/description.py",
    "coordinator/graph/graph.py",
    "coordinator/graph/inputs.py",
    "coordinator/graph/nodes.py",
    "coordinator/graph/outputs.py",
    "coordinator/graph/past.py",
    "coordinator/tasks/lane.py",
    "coordinator/pipelines/desk.py",
    "coordinator/pipelines/desks.py",
    "coordinator/pipelines/figures.py",
    "coordinator/pipelines/template.py",
    "coordinator/tasks/prices.py",
    "coordinator/graph/reading.py",
    "coordinator/graph/references.py",
    "coordinator/tasks/refusals.py",
    "coordinator/graph/specs.py",
    "coordinator/tasks/submission.py",
    "coordinator/tasks/summary.py",
    "coordinator/graph/tally.py",
    "coordinator/tasks/views.py",
    "coordinator/texts.py",
    "coordinator/graph/way.py",
    "core/aimodels.py",
    "core/errors.py",
    "core/liveness.py",
    "core/outputs.py",
    "policy/durations.py",
    "policy/fair.py",
    "policy/line.py",
    "policy/order.py",
    "policy/parts.py",
    "policy/scaling.py",
    "policy/slo/forming.py",
    "policy/slo/gate.py",
    "policy/slo/outlook.py",
    "policy/slo/pipeline.py",
    "policy/slo/bursts.py",
    "policy/slo/choices.py",
    "policy/slo/offered.py",
    "policy/slo/planner.py",
    "policy/slo/queueing.py",
    "policy/slo/search.py",
    "policy/slo/tuner.py",
    "policy/slo/profile.py",
    "policy/slo/queue.py",
    "policy/slo/rules.py",
    "policy/slo/sight.py",
    "policy/slo/watch.py",
    "policy/starts.py",
    "policy/window.py",
    "store/cursor.py",
    "workernode/backends/mock_answers.py",
    "workernode/backends/mock_knobs.py",
    "workernode/batching/joining.py",
    "workernode/batching/learned.py",
    "workernode/batching/table.py",
    "workernode/batching/tally.py",
    "workernode/billing.py",
    "workernode/classify.py",
    "workernode/endpoint_policy.py",
    "workernode/resources.py",
    "workernode/slotsearch.py",
    "workernode/stream.py",
    "workernode/usage.py",
    "workload/arrivals.py",
    "workload/errors.py",
    "workload/events.py",
    "workload/gateway_figures.py",
    "workload/graph.py",
    "workload/passage.py",
    "workload/pipeline_report.py",
    "workload/report.py",
    "workload/scalars.py",
    "workload/shapes.py",
    "workload/simulator/capacity.py",
    "workload/simulator/clock.py",
    "workload/simulator/crew.py",
    "workload/simulator/engine.py",
    "workload/simulator/figures.py",
    "workload/simulator/front.py",
    "workload/simulator/requests.py",
    "workload/simulator/simulate.py",
    "workload/simulator/world.py",
    "workload/snapshot.py",
    "workload/sse.py",
]
IO = {"aiohttp", "asyncio", "asyncpg", "kopf", "kubernetes", "pulsar", "socket", "sqlalchemy", "threading"}


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_imports_only_what_lies_below_it(package: str) -> None:
    for file in (ROOT / package).rglob("*.py"):
        wrong = (set(imported(file)) & set(ALLOWED)) - ALLOWED[package] - {package}
        assert not wrong, f"{file.relative_to(ROOT)} imports {wrong}"


@pytest.mark.parametrize("file", PURE)
def test_a_decision_does_no_io(file: str) -> None:
    assert not set(imported(ROOT / file)) & IO
