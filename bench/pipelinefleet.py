"""A pipeline as processes: one coordinator, and a fixed number of workers for each of its stages."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import msgspec
from pydantic import SecretStr

from agentos.processes import RUN_VARIABLE
from agentos.readiness import free_port, wait_until_ready
from agentos.stack import environment
from bench.processes import running
from bench.stage import HOST, BusName, Stage, command
from coordinator.settings import CoordinatorSettings
from core.settings import Settings
from policy.slo.pipeline import Pipeline
from policy.slo.planner import StagePlan
from workernode.settings import WorkerSettings


def renamed(pipeline: Pipeline) -> Pipeline:
    """The same under names of its own, so that it shares no topic with any other."""
    mark = uuid.uuid4().hex[:8]
    stages = [msgspec.structs.replace(stage, model=f"{stage.model}-{mark}") for stage in pipeline.stages]
    return msgspec.structs.replace(pipeline, name=f"{pipeline.name}-{mark}", stages=stages)


@contextmanager
def pipeline_fleet(on: Stage, bus: BusName, pipeline: Pipeline, plans: Mapping[str, StagePlan]) -> Iterator[str]:
    """The gateway's address. Workers are mocks that take as long for a batch as its stage's profile says, and form
    batches by the pipeline's policy, in the planned sizes. Nothing is planned anew.
    """
    results, port = f"res-{pipeline.name}", free_port(HOST, 0)
    coordinator = CoordinatorSettings(
        database_url=SecretStr(on.database),
        port=port,
        res_topic_name=results,
        grace_seconds=5,
        planner="off",
        **on.addresses(bus),
    )
    with ExitStack() as stack:

        def start(part: str, name: str, settings: Settings) -> None:
            given = environment(settings, os.environ) | {RUN_VARIABLE: os.environ[RUN_VARIABLE]}
            stack.enter_context(running(name, command(part, None), given, on.directory))

        start("coordinator", f"coordinator-{pipeline.name}", coordinator)
        for stage in pipeline.stages:
            profile = ",".join(f"{size}:{seconds}" for size, seconds in stage.profile.items())
            worker = WorkerSettings(
                node_type="mock",
                model_name=stage.model,
                port=0,
                res_topic_name=results,
                grace_seconds=5,
                max_process_num=max(stage.profile),
                batch_size=plans[stage.id].size,
                batch_policy=pipeline.policy,
                batch_seconds=profile,
                mock_batch_seconds=profile,
                **on.addresses(bus, worker=True),
            )
            for number in range(plans[stage.id].workers):
                start("worker", f"{stage.model}-{number + 1}", worker)
        gateway = f"http://{HOST}:{port}"
        asyncio.run(wait_until_ready(gateway, [stage.model for stage in pipeline.stages]))
        yield gateway
