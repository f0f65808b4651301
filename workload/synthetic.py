"""The synthetic application on a gateway: bag, diamond, reduce, sequential, and the rate at which their tasks end.

Data travel as data: inputs are random text in bodies, or in documents where they are large; outputs are random text
that the mock worker makes; what depends on a task takes its output by reference.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec

from core.errors import BadMessage
from core.randomtext import random_text
from workload.client import AT_ONCE, Client, Hear, Task
from workload.events import Event
from workload.shapes import GRAPHS, LAST, Structure, Synthetic, single, warmup

# A description is read whole whenever its task changes hands: from here on its data are documents.
INLINE_BYTES = 1 << 20
# A reference to a document is not much shorter.
SHORT_BYTES = 256

# Told how many tasks have ended.
Tell = Callable[[int], None]


class Ran(msgspec.Struct, frozen=True):
    """`seconds`: from the first submission, with the making of its data, to the last task's end."""

    structure: Structure
    tasks: int
    seconds: float
    tasks_per_second: float


async def run(client: Client, app: Synthetic, tell: Tell) -> Ran:
    """Runs the application. Raises `TaskFailed`; `BadMessage` where the data that come out are others than wanted."""
    await asyncio.gather(*(_ended(client, app) for _ in range(app.warmup_tasks)))
    began = time.perf_counter()
    await (_bag(client, app, tell) if app.structure is Structure.BAG else _graph(client, app, tell))
    seconds = time.perf_counter() - began
    return Ran(app.structure, app.tasks, seconds, app.tasks / seconds)


async def _ended(client: Client, app: Synthetic) -> None:
    await (await client.submit(warmup(app))).ended()


async def _graph(client: Client, app: Synthetic, tell: Tell) -> None:
    task = await client.submit(GRAPHS[app.structure](app, await _inputs(client, app, app.inputs)))
    ended = 0

    def hear(event: Event) -> None:
        nonlocal ended
        ended += event.name == "node.completed"
        tell(ended)

    await _check(task, app, hear)


async def _bag(client: Client, app: Synthetic, tell: Tell) -> None:
    """Each task of a bag is a task of its own: as many as have ended are submitted anew."""
    started = min(app.bag_max_running, app.task_count)
    running = _start(client, app, started)
    try:
        while running:
            ended, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for error in [task.exception() for task in ended]:
                if error is not None:
                    raise error
            fresh = min(len(ended), app.task_count - started)
            running |= _start(client, app, fresh)
            started += fresh
            tell(started - len(running))
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _start(client: Client, app: Synthetic, count: int) -> set[asyncio.Task[None]]:
    return {asyncio.create_task(_one(client, app), name="task of a bag") for _ in range(count)}


async def _one(client: Client, app: Synthetic) -> None:
    await _check(await client.submit(single(app, await _inputs(client, app, 1))), app)


async def _inputs(client: Client, app: Synthetic, count: int) -> list[object]:
    size = app.task_data_bytes
    if size <= SHORT_BYTES or size * count <= INLINE_BYTES:
        return [random_text(size) for _ in range(count)]
    gate = asyncio.Semaphore(AT_ONCE)

    async def upload() -> object:
        async with gate:
            return await client.upload(random_text(size))

    return await asyncio.gather(*(upload() for _ in range(count)))


async def _check(task: Task, app: Synthetic, hear: Hear | None = None) -> None:
    """Waits for the end, and looks at what came out."""
    output = (await task.result(LAST, hear=hear))[LAST]
    if len(output) != app.task_data_bytes:
        raise BadMessage(
            f"{task.id}: the answer holds {len(output)} bytes in place of {app.task_data_bytes}: "
            f"is {app.model!r} served by a mock worker?"
        )
