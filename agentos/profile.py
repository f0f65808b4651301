"""Measures what batches take by their size, on the road that a worker's batches go: no broker, no messages."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self

from pydantic import model_validator

from bus.messages import BatchOrder
from bus.operations import FIELDS, operation_of
from workernode.backends.base import Backend, Call
from workernode.batching.batches import Batches
from workernode.settings import WorkerSettings

QUESTION: dict[str, Any] = {
    "messages": [{"role": "user", "content": "What is a batch? Answer in one sentence."}],
    "max_tokens": 32,
}


class ProfileSettings(WorkerSettings):
    """Those of a worker, without a broker."""

    @model_validator(mode="after")
    def _has_broker(self) -> Self:
        return self


class Row(NamedTuple):
    """Batches of one size, in seconds. `rounds`: how many were measured."""

    size: int
    rounds: int
    p50: float
    p95: float
    most: float


async def measure(
    backend: Backend, body: Mapping[str, Any], sizes: Sequence[int], rounds: int, hear: Callable[[int, float], None]
) -> None:
    """Runs `rounds` batches of each size after one that warms up; `hear` takes size and seconds of each.

    Raises what a call of the backend raises.
    """
    batches = Batches(backend, BatchOrder(size=1, policy="none", seconds={}))
    number = 0
    for size in sizes:
        batches.order(BatchOrder(size=size, policy="none", seconds={}))
        for turn in range(rounds + 1):
            bodies = [distinct(body, number + each) for each in range(size)]
            number += size
            seconds = await _served(batches, bodies)
            if turn:
                hear(size, seconds)


async def _served(batches: Batches, bodies: Sequence[Mapping[str, Any]]) -> float:
    calls = [Call(f"profile-{number}", dict(body), False) for number, body in enumerate(bodies)]
    began = time.perf_counter()
    outcomes = await asyncio.gather(
        *(batches.call(call, None, None, lambda: None) for call in calls), return_exceptions=True
    )
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return time.perf_counter() - began


def distinct(body: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The body with a text that no other has from its first word on: what a server keeps of a prompt is of no use.

    Inputs that are tokens stay as they are.
    """
    field = FIELDS[operation_of(body)]
    return {**body, field: _marked(body.get(field), f"[{number}] ")}


def _marked(value: Any, mark: str) -> Any:
    if isinstance(value, str):
        return mark + value
    if isinstance(value, list) and value and isinstance(value[0], str | dict):
        return [_marked(value[0], mark), *value[1:]]
    if isinstance(value, dict) and isinstance(value.get("content"), str):
        return {**value, "content": mark + value["content"]}
    return value


def row(size: int, seconds: Sequence[float]) -> Row:
    """Of at least one batch. Percentiles by the nearest rank."""
    ranked = sorted(seconds)
    p50, p95 = (ranked[math.ceil(part * len(ranked)) - 1] for part in (0.5, 0.95))
    return Row(size, len(ranked), p50, p95, ranked[-1])


def profile_of(rows: Sequence[Row]) -> dict[int, float]:
    """As a stage of a pipeline has it: the median, since one stall of the machine must not count for ever."""
    return {each.size: max(0.0001, round(each.p50, 4)) for each in rows}
