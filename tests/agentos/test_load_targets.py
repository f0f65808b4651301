from __future__ import annotations

from typing import Any

import pytest

from agentos.load_plan import Load
from agentos.load_targets import OnPipeline
from workload.client import Client
from workload.gateway_figures import StageFigures
from workload.report import Outcome

PIPELINE = {
    "name": "shop",
    "slo_seconds": 2.0,
    "policy": "pard",
    "stages": [{"id": "a"}, {"id": "b"}],
    "figures": {"stages": {"a": {"workers": 3}}},
}


def load(**options: Any) -> Load:
    given: dict[str, Any] = dict.fromkeys(Load.__dataclass_fields__)
    return Load(**{**given, "drain": 1.0, "pipeline": "shop", **options})


@pytest.mark.parametrize(("slo", "on_time"), [(None, 1), (0.5, 0)])
async def test_the_slo_is_the_pipelines_unless_another_was_asked_for(slo: float | None, on_time: int) -> None:
    target = OnPipeline(Client(), load(slo=slo), PIPELINE)
    figures = target.report([Outcome(0, 0, 1.0)])
    assert (figures.on_time, figures.slo_seconds, target.slo_seconds) == (on_time, slo or 2.0, slo or 2.0)
    assert list(figures.stages) == ["a", "b"]
    assert figures.policy == "pard"


async def test_where_the_gateway_tells_nothing_the_last_figures_stand(unused_tcp_port: int) -> None:
    async with Client(f"http://127.0.0.1:{unused_tcp_port}", patience=1000) as client:
        target = OnPipeline(client, load(), PIPELINE)
        client.door.heard = True
        await target.look()
    assert target.stages == {"a": StageFigures(workers=3)}
