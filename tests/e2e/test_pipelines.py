"""Pipelines over HTTP, on both brokers: put, asked, dropped in time, told about."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.fixtures.fleet import Fleet, Site, until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("e2e-pipelines")]

SECONDS = 0.05


class Door:
    """A gateway's API of pipelines."""

    def __init__(self, session: aiohttp.ClientSession, fleet: Fleet) -> None:
        self._session = session
        self.first, self.second = fleet.model, fleet.model + " second"

    def pipeline(self, **fields: Any) -> dict[str, Any]:
        say = {"messages": [{"role": "user", "content": "${{ input }}"}], "agentos_mock": {"text": "<${{ input }}>"}}
        more = {"messages": [{"role": "user", "content": "${{ one }}"}], "agentos_mock": {"text": "<${{ one }}>"}}
        stages = [
            {"id": "one", "model": self.first, "profile": {"1": SECONDS}, "body": say},
            {"id": "two", "model": self.second, "profile": {"1": SECONDS}, "body": more},
        ]
        return {"slo_seconds": 20, "stages": stages, **fields}

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, Any]:
        async with self._session.request(method, path, json=body, headers=headers) as response:
            told = await response.json() if response.content_type == "application/json" else None
            return response.status, told, response.headers

    async def put(self, **fields: Any) -> str:
        name = f"p-{uuid.uuid4().hex[:8]}"
        status, told, _ = await self.ask("PUT", f"/v1/pipelines/{name}", self.pipeline(**fields))
        assert status == 200, told
        return name

    async def request(self, name: str, wait: float = 30, **body: Any) -> tuple[int, Any, Any]:
        return await self.ask("POST", f"/v1/pipelines/{name}/requests", body, Prefer=f"wait={wait:g}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(site: Site, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    directory: Path = tmp_path_factory.mktemp("fleet")
    with Fleet(site, directory) as fleet:
        slots = {"MAX_PROCESS_NUM": "2", "AGENTOS_MOCK_DELAY_SECONDS": str(SECONDS)}
        second = fleet.worker(MODEL_NAME=fleet.model + " second", **slots)
        await fleet.start(fleet.coordinator(), fleet.worker(**slots), second)
        yield fleet


@pytest_asyncio.fixture(loop_scope="module")
async def door(fleet: Fleet) -> AsyncIterator[Door]:
    async with aiohttp.ClientSession(fleet.url) as session:
        door = Door(session, fleet)
        yield door
        for pipeline in (await door.ask("GET", "/v1/pipelines"))[1]["data"]:
            await door.ask("DELETE", f"/v1/pipelines/{pipeline['name']}")


async def test_a_request_goes_through_all_stages(door: Door) -> None:
    name = await door.put()
    status, told, headers = await door.request(name, input="deep")
    assert (status, told["status"], told["pipeline"], headers["preference-applied"]) == (
        200,
        "completed",
        name,
        "wait=30",
    )
    one, two = told["nodes"]
    assert (two["output"], "output" in one) == ("<<deep>>", False)
    assert all(SECONDS * 0.9 <= node["seconds"] < 20 for node in (one, two))
    assert told["deadline"] - told["created_at"] == pytest.approx(20, abs=5)
    figures = (await door.ask("GET", f"/v1/pipelines/{name}"))[1]["figures"]
    assert (figures["offered"], figures["on_time"], figures["goodput"]) == (1, 1, 1.0)
    assert {stage: (each["arrived"], each["served"]) for stage, each in figures["stages"].items()} == {
        "one": (1, 1),
        "two": (1, 1),
    }


async def test_without_waiting_it_is_a_task_like_any_other(door: Door) -> None:
    name = await door.put()
    status, told, _ = await door.ask("POST", f"/v1/pipelines/{name}/requests", {"input": "x", "user": "alice"})
    assert (status, told["user"]) == (202, "alice")

    async def ended() -> bool:
        return bool((await door.ask("GET", f"/v1/tasks/{told['id']}"))[1]["status"] == "completed")

    await until(ended, "the task has completed")


async def test_what_cannot_make_it_is_told_so_before_its_deadline(door: Door) -> None:
    """A hundred at once need some 2.5 s; whoever is dropped is told before half a second is over."""
    name = await door.put(slo_seconds=0.5)

    async def one() -> tuple[float, int, Any]:
        began = time.monotonic()
        status, told, _ = await door.request(name, input="x")
        return time.monotonic() - began, status, told

    ends = await asyncio.gather(*(one() for _ in range(100)))
    codes = [told["error"]["code"] for _, _, told in ends if told.get("error")]
    assert codes.count("deadline_unreachable") > 20
    assert set(codes) <= {"deadline_unreachable", "deadline_exceeded"}
    figures = (await door.ask("GET", f"/v1/pipelines/{name}"))[1]["figures"]
    assert figures["offered"] == 100
    assert figures["on_time"] + figures["late"] + figures["dropped"] == 100
    assert figures["dropped"] >= codes.count("deadline_unreachable")


async def test_the_same_key_is_the_same_request(door: Door) -> None:
    name, body = await door.put(), {"input": "x"}
    path, key = f"/v1/pipelines/{name}/requests", uuid.uuid4().hex
    asks = [await door.ask("POST", path, body, **{"Idempotency-Key": key, "Prefer": "wait=30"}) for _ in range(3)]
    assert len({told["id"] for _, told, _ in asks}) == 1
    assert [status for status, *_ in asks] == [200] * 3
    assert (await door.ask("GET", f"/v1/pipelines/{name}"))[1]["figures"]["offered"] == 1
    status, told, _ = await door.ask("POST", path, {"input": "y"}, **{"Idempotency-Key": key})
    assert (status, told["error"]["code"]) == (422, "idempotency_key_reused")


async def test_with_the_policy_none_everything_is_served_however_late(door: Door) -> None:
    name = await door.put(slo_seconds=0.2, policy="none")
    ends = await asyncio.gather(*(door.request(name, input=str(number)) for number in range(40)))
    assert {told["status"] for _, told, _ in ends} == {"completed"}
    figures = (await door.ask("GET", f"/v1/pipelines/{name}"))[1]["figures"]
    assert (figures["dropped"], figures["on_time"] + figures["late"]) == (0, 40)
    assert figures["late"] > 20
    assert figures["stages"]["one"]["wasted_seconds"] >= figures["late"] * SECONDS * 0.9


async def test_a_change_of_the_policy_meets_what_waits_already(door: Door) -> None:
    name = await door.put(slo_seconds=60, policy="none")
    asked = [asyncio.create_task(door.request(name, input="x", slo_seconds=1)) for _ in range(60)]

    async def offered() -> bool:
        return bool((await door.ask("GET", f"/v1/pipelines/{name}"))[1]["figures"]["offered"] == 60)

    await until(offered, "all have come")
    status, *_ = await door.ask("PUT", f"/v1/pipelines/{name}", door.pipeline(policy="lazy"))
    assert status == 200
    ends = await asyncio.gather(*asked)
    assert [told["status"] for _, told, _ in ends] == ["completed"] * 60  # they came without a deadline


async def test_a_model_is_one_pipelines(door: Door) -> None:
    name = await door.put()
    status, told, _ = await door.ask("PUT", f"/v1/pipelines/{name}-too", door.pipeline())
    assert (status, told["error"]["code"]) == (409, "model_in_use")
    assert (await door.ask("PUT", f"/v1/pipelines/{name}", door.pipeline(slo_seconds=3)))[0] == 200
    assert (await door.ask("DELETE", f"/v1/pipelines/{name}"))[0] == 204
    assert (await door.ask("PUT", f"/v1/pipelines/{name}-too", door.pipeline()))[0] == 200


@pytest.mark.parametrize(
    ("body", "headers", "status", "param"),
    [
        ({}, {}, 400, "/input"),
        ({"input": 1, "slo_seconds": -1}, {}, 400, "/slo_seconds"),
        ({"input": 1, "colour": "red"}, {}, 400, "/colour"),
        ({"input": 1}, {"Prefer": "wait=soon"}, 400, "Prefer"),
        ({"input": 1}, {"Prefer": "wait=99999"}, 400, "Prefer"),
    ],
)
async def test_a_wrong_request_is_refused(
    door: Door, body: dict[str, Any], headers: dict[str, str], status: int, param: str
) -> None:
    name = await door.put()
    answered, told, _ = await door.ask("POST", f"/v1/pipelines/{name}/requests", body, **headers)
    assert (answered, told["error"]["param"]) == (status, param)


async def test_a_pipeline_that_is_not_there_is_not_found(door: Door) -> None:
    for method, path in [("GET", "p-0"), ("DELETE", "p-0"), ("POST", "p-0/requests")]:
        status, told, _ = await door.ask(method, f"/v1/pipelines/{path}", {"input": 1} if method == "POST" else None)
        assert (status, told["error"]["code"]) == (404, "not_found")


async def test_a_wrong_pipeline_is_refused_with_its_place(door: Door) -> None:
    wrong = door.pipeline()
    wrong["stages"][1]["after"] = ["nobody"]
    status, told, _ = await door.ask("PUT", "/v1/pipelines/wrong", wrong)
    assert (status, told["error"]["param"]) == (400, "/stages/1/after/0")
