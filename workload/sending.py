"""The testing client: sends a list of requests at once, at intervals, or in bursts, and tells each one's latency.

Intervals are in seconds. The requests are open-loop, but latencies count from when a request was sent and are as
coarse as the polling: for figures take `workload.openloop`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from core.errors import AgentOSError
from workload.client import ENDED, Client, Task
from workload.errors import TaskFailed
from workload.graph import Graph

POLL_SECONDS = 3.0

# A task's graph, its description, or an OpenAI chat body, which becomes a task of one node.
Request: TypeAlias = Graph | Mapping[str, Any]
Range: TypeAlias = tuple[float, float]


class Sent(NamedTuple):
    """`response`: of a chat body its completion, of a graph the outputs of its nodes. `latency` in seconds."""

    response: dict[str, Any]
    latency: float


class AllSent(NamedTuple):
    """In the order of the requests. The response of one that failed is its error. `latencies` in seconds."""

    responses: list[dict[str, Any] | AgentOSError]
    latencies: list[float]


async def send_req(url: str, req: Request, *, poll_seconds: float = POLL_SECONDS) -> Sent:
    """Submits one request, asks for its status every `poll_seconds`, and returns its response once it has completed.

    Raises `TaskFailed`, `GatewayRefused`, `GatewayUnavailable`.
    """
    async with Client(url) as client:
        response, latency = await _send(client, req, poll_seconds)
    if isinstance(response, AgentOSError):
        raise response
    return Sent(response, latency)


async def send_all(url: str, req_list: Sequence[Request], *, poll_seconds: float = POLL_SECONDS) -> AllSent:
    """Sends all at once."""
    return await _send_batches(url, [req_list], lambda: 0.0, poll_seconds)


async def send_in_interval(
    url: str, req_list: Sequence[Request], interval_range: Range, *, poll_seconds: float = POLL_SECONDS
) -> AllSent:
    """Sends one by one, with a random pause within `interval_range` before each but the first."""
    return await send_batch_interval(url, req_list, interval_range, 1, poll_seconds=poll_seconds)


async def send_batch_interval(
    url: str,
    req_list: Sequence[Request],
    interval_range: Range,
    batch_size: int,
    *,
    poll_seconds: float = POLL_SECONDS,
) -> AllSent:
    """Sends bursts of `batch_size`, with a random pause within `interval_range` before each but the first."""
    return await send_dynamic_batch_interval(
        url, req_list, interval_range, (batch_size, batch_size), poll_seconds=poll_seconds
    )


async def send_dynamic_batch_interval(
    url: str,
    req_list: Sequence[Request],
    interval_range: Range,
    batch_range: tuple[int, int],
    *,
    poll_seconds: float = POLL_SECONDS,
) -> AllSent:
    """Sends bursts of a random size within `batch_range`, both ends included, with pauses as the others."""
    batches = cut(req_list, lambda: random.randint(*batch_range))
    return await _send_batches(url, batches, lambda: random.uniform(*interval_range), poll_seconds)


def cut(req_list: Sequence[Request], size: Callable[[], int]) -> Iterator[Sequence[Request]]:
    """Pieces of the sizes that `size` gives, at least 1, in order."""
    at = 0
    while at < len(req_list):
        end = at + max(1, size())
        yield req_list[at:end]
        at = end


async def _send_batches(
    url: str, batches: Iterable[Sequence[Request]], pause: Callable[[], float], poll_seconds: float
) -> AllSent:
    async with Client(url) as client, asyncio.TaskGroup() as group:
        sending = []
        for number, batch in enumerate(batches):
            if number:
                await asyncio.sleep(pause())
            sending += [group.create_task(_send(client, req, poll_seconds)) for req in batch]
    ends = [task.result() for task in sending]
    return AllSent([response for response, _ in ends], [latency for _, latency in ends])


async def _send(client: Client, req: Request, poll_seconds: float) -> tuple[dict[str, Any] | AgentOSError, float]:
    began = time.perf_counter()
    try:
        response: dict[str, Any] | AgentOSError = await _response(client, req, poll_seconds)
    except AgentOSError as error:
        response = error
    return response, time.perf_counter() - began


async def _response(client: Client, req: Request, poll_seconds: float) -> dict[str, Any]:
    chat = not isinstance(req, Graph) and "messages" in req
    task = await client.submit(_one_node(req) if chat else req)
    await _ended(task, poll_seconds)
    whole = await task.look()
    if whole["status"] != "completed":
        raise TaskFailed(whole)
    return (await task.node("0"))["response"] if chat else await task.outputs(whole)


async def _ended(task: Task, poll_seconds: float) -> None:
    while True:
        if (await task.look(nodes=False))["status"] in ENDED:
            return
        await asyncio.sleep(poll_seconds)


def _one_node(body: Any) -> dict[str, Any]:
    return {"nodes": [{"id": "0", "model": body.get("model"), "body": body}]}
