"""What a load is sent to, and what is told of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from agentos.graph_files import read_graph
from agentos.load_plan import Load
from agentos.on_gateway import is_mock
from core.errors import AgentOSError
from workload.client import Client
from workload.gateway_figures import StageFigures, figures_of
from workload.openloop import Send
from workload.pipeline_report import PipelineReport, pipeline_report
from workload.report import Outcome, Report, report
from workload.senders import Chats, Requests, Submissions

log = logging.getLogger(__name__)

# A gateway that is busy does not hold up what is told meanwhile.
_LOOK_SECONDS = 0.9


class Target(Protocol):
    """`send`: for the open loop. `slo_seconds`: None where none was given."""

    title: str
    send: Send
    slo_seconds: float | None
    stages: Mapping[str, StageFigures]

    async def look(self) -> None:
        """Brings `stages` up to date."""

    def report(self, outcomes: Sequence[Outcome]) -> Report | PipelineReport:
        """What it has come to."""


class Plain:
    """Chats, or tasks: nothing more is known of them."""

    def __init__(self, title: str, send: Send, slo_seconds: float | None) -> None:
        self.title = title
        self.send = send
        self.slo_seconds = slo_seconds
        self.stages: Mapping[str, StageFigures] = {}

    async def look(self) -> None:
        """There is nothing to see."""

    def report(self, outcomes: Sequence[Outcome]) -> Report:
        """Of all that were offered."""
        return report(outcomes, slo_seconds=self.slo_seconds)


class OnPipeline:
    """Requests of a pipeline. `pipeline`: as the gateway has it before the load."""

    def __init__(self, client: Client, plan: Load, pipeline: dict[str, Any]) -> None:
        self._slo: float = plan.slo or pipeline["slo_seconds"]
        self.send: Send = Requests(client.door, pipeline["name"], slo_seconds=plan.slo, wait=self._slo + plan.drain)
        self.slo_seconds: float | None = self._slo
        self._client = client
        self._name: str = pipeline["name"]
        self._policy: str = pipeline.get("policy", "agentos")
        self._order = [stage["id"] for stage in pipeline["stages"]]
        self._before = self.stages = figures_of(pipeline)
        self._looks: list[Mapping[str, StageFigures]] = []
        self.title = f"pipeline {self._name}, policy {self._policy}, SLO {self._slo:g} s"

    async def look(self) -> None:
        """Brings `stages` up to date; where the gateway does not answer soon they stay as they were."""
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                self.stages = figures_of(await self._client.pipeline(self._name))
                self._looks.append(self.stages)
        except (TimeoutError, AgentOSError) as error:
            log.info("no figures of %s: %s", self._name, error)

    def report(self, outcomes: Sequence[Outcome]) -> PipelineReport:
        """Of all that were offered."""
        return pipeline_report(
            outcomes,
            pipeline=self._name,
            policy=self._policy,
            slo_seconds=self._slo,
            stages=self._order,
            before=self._before,
            looks=self._looks,
        )


async def target_of(client: Client, plan: Load) -> Target:
    """Raises `ConfigurationError`, `GatewayRefused`, `GatewayUnavailable`."""
    if plan.pipeline is not None:
        return OnPipeline(client, plan, await client.pipeline(plan.pipeline))
    if plan.tasks is not None:
        return Plain(f"tasks of {plan.tasks}", Submissions(client, read_graph(plan.tasks)), plan.slo)
    mock = await is_mock(client, plan.model)
    return Plain(f"chats with {plan.model}", Chats(client.door, plan.model, stream=plan.stream, mock=mock), plan.slo)
