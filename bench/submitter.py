"""Submits requests as a batch does: many in one commit, then published by the relay from memory."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec
import uvloop

from bench.profiled import sample_into
from bench.talk import configuration, say, told
from bus.connect import connect
from bus.topics import RESULT_TOPIC, model_subscription, model_topic
from coordinator.relay import LEASE_SECONDS, Relay
from coordinator.tracing import Traces
from core.spans import NO_SPAN, NO_TRACING
from store import Epoch, OutboxRow, Store, Submission, Submitted

# Requests of one commit, and commits under way at once.
BATCH = 500
IN_FLIGHT = 2
BODY_BYTES = 1024
EPOCH = Epoch(0, 0)


def body(model: str) -> str:
    """A chat completion request of 1 KiB."""
    head = f'{{"model":"{model}","messages":[{{"role":"user","content":"'
    tail = '"}]}'
    return head + "x" * (BODY_BYTES - len(head) - len(tail)) + tail


class Submitter:
    """Commits and publishes."""

    def __init__(self, store: Store, relay: Relay, model: str) -> None:
        self._store = store
        self._relay = relay
        self._model = model
        self._body = body(model)

    async def submit(self, count: int) -> None:
        """Returns when every request is committed and published, and its outbox row gone."""
        batches = iter([BATCH] * (count // BATCH) + ([count % BATCH] if count % BATCH else []))
        await asyncio.gather(*(self._submit(batches) for _ in range(IN_FLIGHT)))
        await self._relay.drain()

    async def _submit(self, batches: Iterator[int]) -> None:
        for size in batches:
            now = time.time()
            batch = [self._submission() for _ in range(size)]
            keys = await self._store.submit(batch)
            await self._relay.publish([(row, NO_SPAN) for row in map(partial(_row, now), batch, keys)])

    def _submission(self) -> Submission:
        envelope = {"request_id": "req_" + uuid.uuid4().hex, "stream": False, "submitted_at": time.time()}
        return Submission(
            user_id=0,
            task_type="chat.completion",
            description=f'{{"nodes":[{{"id":"0","model":"{self._model}"}}]}}',
            node_id="0",
            topic=model_topic(self._model),
            subscription=model_subscription(self._model),
            envelope=msgspec.json.encode(envelope).decode(),
            body=self._body,
            owner=self._relay.owner,
            lease_seconds=LEASE_SECONDS,
            epoch=EPOCH,
        )


def _row(now: float, submission: Submission, keys: Submitted) -> OutboxRow:
    return OutboxRow(
        outbox_id=keys.outbox_id,
        task_id=keys.task_id,
        node_id=submission.node_id,
        epoch=submission.epoch,
        topic=submission.topic,
        subscription=submission.subscription,
        envelope=submission.envelope,
        body=submission.body,
        created_at=now,
    )


async def main(given: dict[str, Any]) -> None:
    """Submits as often as it is told to."""
    async with contextlib.AsyncExitStack() as stack:
        store = await Store.connect(given["database"])
        stack.push_async_callback(store.close)
        bus = await connect(**given["bus"])
        stack.push_async_callback(bus.close)
        # It never sweeps, and asks about no result.
        relay = Relay(bus, store, "bench-" + uuid.uuid4().hex, RESULT_TOPIC, Traces(NO_TRACING, "postgresql"))
        submitter = Submitter(store, relay, given["model"])
        say(ready=True)
        while order := await asyncio.to_thread(told):
            await submitter.submit(order["count"])
            say(submitted=order["count"])


if __name__ == "__main__":
    sample_into(configuration()["profile"])
    uvloop.run(main(configuration()))
