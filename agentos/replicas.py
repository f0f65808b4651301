"""Which objects of Kubernetes hold a stage's workers, how many replicas they are to have, and what is to be told to
the cluster when. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from bus.scaling import Order
from policy.slo.pipeline import Pipeline, Replicas

# Told again so often, in case somebody else has changed it.
AGAIN_SECONDS = 30.0
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0


class Target(NamedTuple):
    """A stage's object."""

    pipeline: str
    stage: str
    replicas: Replicas

    def __str__(self) -> str:
        return f"pipeline {self.pipeline}, stage {self.stage}: {described(self.replicas)}"


class _State(NamedTuple):
    """`told`: what the cluster was told last; `at`: when it is told again; `failures`: in a row."""

    told: int | None = None
    at: float = 0.0
    failures: int = 0


class Reins:
    """What is ordered, and what the cluster knows of it. Times are of one clock, in seconds."""

    def __init__(self) -> None:
        self._targets: dict[tuple[str, str], tuple[Target, int]] = {}  # and the most workers
        self._wanted: dict[Target, int] = {}
        self._states: dict[Target, _State] = {}

    def set(self, pipelines: Iterable[Pipeline]) -> None:
        """These are the pipelines now. Orders that are known stay."""
        self._targets = {
            (pipeline.name, stage.id): (Target(pipeline.name, stage.id, stage.replicas), stage.workers.most)
            for pipeline in pipelines
            for stage in pipeline.stages
            if stage.replicas is not None
        }
        targets = {target for target, _ in self._targets.values()}
        self._wanted = {target: count for target, count in self._wanted.items() if target in targets}
        self._states = {target: state for target, state in self._states.items() if target in targets}

    def order(self, order: Order) -> None:
        """The latest is true."""
        for stage, count in order.workers.items():
            if (found := self._targets.get((order.pipeline, stage))) is not None:
                target, most = found
                self._wanted[target] = min(count, most)

    def due(self, now: float) -> list[tuple[Target, int]]:
        """What the cluster is to be told now."""
        found = []
        for target, count in self._wanted.items():
            state = self._states.get(target, _State())
            fresh = count != state.told and not state.failures
            if fresh or now >= state.at:
                found.append((target, count))
        return found

    def done(self, target: Target, count: int, now: float) -> bool:
        """It was told; whether that is a change."""
        changed = self._states.get(target, _State()).told != count
        self._states[target] = _State(count, now + AGAIN_SECONDS)
        return changed

    def failed(self, target: Target, now: float) -> float:
        """It was not told. Seconds until it is tried again."""
        state = self._states.get(target, _State())
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(state.failures, 10))
        self._states[target] = _State(state.told, now + pause, state.failures + 1)
        return pause


def described(replicas: Replicas) -> str:
    """An object by name."""
    return f"{replicas.kind} {replicas.namespace}/{replicas.name}"


def without_replicas(pipelines: Iterable[Pipeline]) -> Mapping[str, list[str]]:
    """Stages that no object is named for, by pipeline."""
    found = {each.name: [stage.id for stage in each.stages if stage.replicas is None] for each in pipelines}
    return {name: stages for name, stages in found.items() if stages}
