"""A pipeline: stages in a chain or a graph, and the time within which a request must be through all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from core.errors import BadMessage

PolicyName = Literal["none", "lazy", "nexus", "pard", "agentos"]

_ID = Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")
_Seconds = Annotated[float, Meta(gt=0, le=86_400)]
_Count = Annotated[int, Meta(ge=0, le=10_000)]


class Workers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How many workers a stage may have: `least` run always, `most` at most."""

    least: _Count = 1
    most: Annotated[int, Meta(ge=1, le=10_000)] = 8


class Replicas(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What holds a stage's workers on Kubernetes: its `spec.replicas` is set."""

    name: str
    namespace: str = "default"
    kind: Literal["AIModel", "Deployment"] = "AIModel"


class Stage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One model's part. `after`: the stages whose answers it needs.

    `profile`: seconds of a batch by its size, see `agentos profile`. `body`: its requests' OpenAI body, with
    references: `${{ input }}`, `${{ other-stage }}`. `cost`: of one worker for one second. `start_seconds`: from the
    order of a worker to its first message. `run`: settings of its workers, where they are processes of `agentos up`.
    """

    id: Annotated[str, _ID]
    model: Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,256}\Z")]
    profile: dict[Annotated[int, Meta(ge=1, le=1024)], _Seconds]
    after: list[str] = []
    body: dict[str, Any] = {}
    workers: Workers = Workers()
    cost: Annotated[float, Meta(gt=0, le=1e9)] = 1.0
    start_seconds: Annotated[float, Meta(ge=0, le=86_400)] = 0.0
    run: dict[str, str] = {}
    replicas: Replicas | None = None


class Pipeline(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`slo_seconds`: from a request's arrival to the end of its last stage. `stages`: in an order in which each comes
    after those that it needs (see `checked`). `policy`: what is dropped, and in which order the rest is served.
    """

    name: Annotated[str, _ID]
    slo_seconds: _Seconds
    stages: list[Stage]
    policy: PolicyName = "agentos"

    def longest(self, weight: Callable[[Stage], float]) -> dict[str, float]:
        """By stage: the heaviest way from its end to the end of the pipeline, the stage itself left out."""
        found = {stage.id: 0.0 for stage in self.stages}
        for stage in reversed(self.stages):
            if stage.after:
                through = found[stage.id] + weight(stage)
                for before in stage.after:
                    found[before] = max(found[before], through)
        return found


class WrongPipeline(BadMessage):
    """`place`: where in the description (its steps, for a JSON pointer). The message: what would be right."""

    def __init__(self, place: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.place = place


def checked(pipeline: Pipeline) -> Pipeline:
    """The pipeline with its stages in order, each after those that it needs. Raises `WrongPipeline`."""
    if not pipeline.stages:
        raise WrongPipeline(("stages",), "There must be at least one stage.")
    ids = _distinct(pipeline)
    for number, stage in enumerate(pipeline.stages):
        for at, name in enumerate(stage.after):
            if name not in ids:
                raise WrongPipeline(("stages", number, "after", at), "No stage has this id.")
        if not stage.profile:
            raise WrongPipeline(("stages", number, "profile"), "It needs the seconds of at least one batch size.")
        if stage.workers.least > stage.workers.most:
            raise WrongPipeline(("stages", number, "workers"), "least is more than most.")
    return msgspec.structs.replace(pipeline, stages=_in_order(pipeline.stages, ids))


def _distinct(pipeline: Pipeline) -> Mapping[str, int]:
    ids: dict[str, int] = {}
    models: set[str] = set()
    for number, stage in enumerate(pipeline.stages):
        if stage.id in ids:
            raise WrongPipeline(("stages", number, "id"), "Another stage has this id.")
        if stage.model in models:
            raise WrongPipeline(
                ("stages", number, "model"), "Another stage has this model; each has a topic of its own."
            )
        ids[stage.id] = number
        models.add(stage.model)
    return ids


def _in_order(stages: list[Stage], ids: Mapping[str, int]) -> list[Stage]:
    ordered: list[Stage] = []
    done: set[str] = set()
    while len(ordered) < len(stages):
        ready = [stage for stage in stages if stage.id not in done and done.issuperset(stage.after)]
        if not ready:
            number = next(ids[stage.id] for stage in stages if stage.id not in done)
            raise WrongPipeline(("stages", number, "after"), "It depends on itself, through others or at once.")
        ordered += ready
        done.update(stage.id for stage in ready)
    return ordered
