"""Worker processes of a pipeline follow orders: more, less, none left."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import psutil
import pytest

from agentos.children import Child, ChildSpec
from agentos.processes import Run, of_run
from agentos.site import Kept, Site
from bus.messages import encode
from bus.scaling import FrontendInformation, Order
from core.run import Stop
from policy.slo.pipeline import Pipeline, Stage, Workers, checked
from tests.agentos.stand_ins import PLAIN, STUBBORN

pytestmark = pytest.mark.kills

PATIENCE = 30.0
STAGES = [
    Stage(id="a", model="m-a", profile={1: 0.1}, workers=Workers(least=1, most=4)),
    Stage(id="b", model="m-b", profile={1: 0.1}, workers=Workers(least=0, most=2), after=["a"]),
]
PIPELINE = checked(Pipeline(name="p", slo_seconds=1.0, stages=STAGES))


class Ground:
    """A site with real processes that do nothing, and what it has said."""

    def __init__(self, directory: Path, code: str = PLAIN) -> None:
        self.run = Run.new()
        self.said: list[str] = []
        self.stop = Stop()
        self._logs = directory
        self._ready = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.site = Site(self._keep, self._watch, self.said.append, self.stop)
        self.specs = [(stage, self._spec(stage, code)) for stage in PIPELINE.stages]

    def _spec(self, stage: Stage, code: str) -> ChildSpec:
        environment = {"AGENTOS_RUN": str(self.run), "STAGE": stage.id}
        return ChildSpec(f"worker-p-{stage.id}", (sys.executable, "-c", code), environment, grace=10.0)

    def _keep(self, spec: ChildSpec) -> Kept:
        child = Child(spec, self.run, self._logs, self.said.append)
        return Kept(child, self._watch(child.keep(self._ready)))

    def _watch(self, side: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        self._tasks.append(asyncio.create_task(side))
        return self._tasks[-1]

    def order(self, **workers: int) -> None:
        self.site.hear(encode(Order(pipeline="p", workers=workers, at=0.0, planner="c")))

    def there(self) -> dict[str, list[int]]:
        """Process ids by stage, the oldest first."""
        found: dict[str, list[int]] = {"a": [], "b": []}
        for process in sorted(of_run(self.run), key=lambda each: each.pid):
            try:
                found[process.environ()["STAGE"]].append(process.pid)
            except (psutil.Error, OSError):
                continue
        return found

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.05)  # processes come and go without an event

    async def close(self) -> None:
        await self.site.close()
        done, running = await asyncio.wait(self._tasks, timeout=PATIENCE)
        assert not running
        assert [task.exception() for task in done] == [None] * len(done)
        assert of_run(self.run) == []


@pytest.fixture
async def ground(tmp_path: Path) -> AsyncIterator[Ground]:
    ground = Ground(tmp_path)
    ground.site.open(PIPELINE, ground.specs)
    await ground.until(lambda: len(ground.there()["a"]) == 1)
    yield ground
    await ground.close()


async def test_each_stage_begins_with_its_least(ground: Ground) -> None:
    assert [len(pids) for pids in ground.there().values()] == [1, 0]


async def test_orders_start_and_stop_the_newest(ground: Ground) -> None:
    [first] = ground.there()["a"]
    ground.order(a=3, b=1)
    await ground.until(lambda: [len(pids) for pids in ground.there().values()] == [3, 1])
    ground.order(a=1, b=1)
    await ground.until(lambda: [len(pids) for pids in ground.there().values()] == [1, 1])
    assert ground.there()["a"] == [first]
    assert "pipeline p, stage a: 1 → 3 workers" in ground.said
    assert "pipeline p, stage a: 3 → 1 workers" in ground.said


async def test_the_same_order_again_changes_nothing(ground: Ground) -> None:
    before = ground.there()
    ground.order(a=1, b=0)
    assert ground.said == []
    assert ground.there() == before


async def test_no_order_exceeds_the_most(ground: Ground) -> None:
    ground.order(a=1, b=99)
    await ground.until(lambda: len(ground.there()["b"]) == 2)
    ground.order(a=1, b=99)
    assert len([line for line in ground.said if "stage b" in line]) == 1


async def test_what_is_no_order_for_it_changes_nothing(ground: Ground, caplog: pytest.LogCaptureFixture) -> None:
    before = ground.there()
    ground.site.hear(encode(Order(pipeline="other", workers={"a": 3}, at=0.0, planner="c")))
    ground.site.hear(encode(FrontendInformation(sender="s", seconds=0.1)))
    ground.order(unknown=4)
    assert ground.said == []
    ground.site.hear(b"{}")
    assert "not a scaling message" in caplog.text
    assert ground.there() == before


async def test_a_worker_that_dies_is_started_again(ground: Ground) -> None:
    [first] = ground.there()["a"]
    psutil.Process(first).kill()
    await ground.until(lambda: len(ground.there()["a"]) == 1 and ground.there()["a"] != [first])


async def test_while_some_leave_others_start(tmp_path: Path) -> None:
    ground = Ground(tmp_path, STUBBORN)
    ground.site.open(PIPELINE, ground.specs)
    ground.order(a=2)
    for number in (1, 2):  # they ignore the signal, once they are up
        await ground.until((tmp_path / f"worker-p-a-{number}.log").exists)
        await ground.until(lambda number=number: "up" in (tmp_path / f"worker-p-a-{number}.log").read_text())  # type: ignore[misc]
    ground.order(a=0)
    ground.order(a=2)
    await ground.until(lambda: len(ground.there()["a"]) == 4)
    assert (tmp_path / "worker-p-a-3.log").exists()
    ground.stop.signal()
    ground.stop.signal()  # hurry
    await ground.close()


async def test_after_the_end_no_order_starts_anything(tmp_path: Path) -> None:
    ground = Ground(tmp_path)
    ground.site.open(PIPELINE, ground.specs)
    await ground.close()
    ground.order(a=3)
    assert of_run(ground.run) == []
    assert ground.said == ["stopping worker-p-a-1"] or ground.said == []
