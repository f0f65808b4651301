"""What the same hardware does with nothing but the Pulsar client: two hops and a bare fold, three processes.

    source ─ send_async ─► requests ─► worker ─ send_async ─► results ─► fold ─ upsert ─► Postgres ─► ack

Requests are not batched (as those of AgentOS, of which any worker may take any), results are. The worker acks what
the broker has confirmed, the fold what Postgres has committed.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import psycopg2
import pulsar

from bench.talk import configuration, say, told

BODY = b"x" * 1024
# The fold of facts that AgentOS has, without inbox, ledger and documents.
TABLE = """
create table if not exists bench_results (
    task_id bigint primary key, global_epoch bigint not null, regional_epoch bigint not null, result text not null
)
"""
UPSERT = """
insert into bench_results select * from unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::text[])
on conflict (task_id) do update
set global_epoch = excluded.global_epoch, regional_epoch = excluded.regional_epoch, result = excluded.result
where (bench_results.global_epoch, bench_results.regional_epoch) < (excluded.global_epoch, excluded.regional_epoch)
"""
RECEIVE_MESSAGES = 500
RECEIVE_MILLISECONDS = 5
PENDING = 10_000
STALL_SECONDS = 60.0


class RawLoopStalled(Exception):
    """Nothing arrives any more although messages are missing."""


def source(client: pulsar.Client, given: dict[str, Any]) -> None:
    """Publishes as many as it is told to, as often as it is told to."""
    producer = client.create_producer(
        given["requests"], batching_enabled=False, max_pending_messages=PENDING, block_if_queue_full=True
    )
    say(ready=True)
    number = 0
    while order := told():
        for _ in range(order["count"]):
            number += 1
            producer.send_async(BODY, _ignore, properties={"number": str(number)})
        producer.flush()
        say(published=order["count"])


def worker(client: pulsar.Client, given: dict[str, Any]) -> None:
    """Passes on as many as it is told to."""
    producer = client.create_producer(
        given["results"], batching_enabled=True, max_pending_messages=PENDING, block_if_queue_full=True
    )
    consumer = _consumer(client, given["requests"])
    confirmed: deque[pulsar.MessageId] = deque()
    say(ready=True)
    while order := told():
        settled = 0
        wait = _Patience()
        while settled < order["count"]:
            for message in consumer.batch_receive():
                wait.seen()
                message_id = message.message_id()
                producer.send_async(
                    message.data(),
                    lambda _result, _sent, message_id=message_id: confirmed.append(message_id),
                    properties=message.properties(),
                )
            wait.check()
            while confirmed:
                consumer.acknowledge(confirmed.popleft())
                settled += 1
        say(settled=settled)


def fold(client: pulsar.Client, given: dict[str, Any]) -> None:
    """Writes as many as it is told to, and says when."""
    database = psycopg2.connect(given["database"])
    with database, database.cursor() as cursor:
        cursor.execute(TABLE)
        cursor.execute("truncate bench_results")
    consumer = _consumer(client, given["results"])
    say(ready=True)
    while order := told():
        folded = 0
        wait = _Patience()
        while folded < order["count"]:
            messages = consumer.batch_receive()
            wait.check()
            if not messages:
                continue
            wait.seen()
            with database, database.cursor() as cursor:
                cursor.execute(UPSERT, _columns(messages))
            for message in messages:
                consumer.acknowledge(message)
            folded += len(messages)
        say(folded=folded)
    database.close()


def _columns(messages: list[pulsar.Message]) -> list[list[Any]]:
    zeros = [0] * len(messages)
    numbers = [int(message.properties()["number"]) for message in messages]
    return [numbers, zeros, zeros, [message.data().decode() for message in messages]]


def _consumer(client: pulsar.Client, topic: str) -> pulsar.Consumer:
    return client.subscribe(
        topic,
        "bench",
        consumer_type=pulsar.ConsumerType.Shared,
        initial_position=pulsar.InitialPosition.Earliest,
        receiver_queue_size=1000,
        batch_receive_policy=pulsar.ConsumerBatchReceivePolicy(RECEIVE_MESSAGES, -1, RECEIVE_MILLISECONDS),
    )


class _Patience:
    def __init__(self) -> None:
        self._last = time.monotonic()

    def seen(self) -> None:
        self._last = time.monotonic()

    def check(self) -> None:
        if time.monotonic() - self._last > STALL_SECONDS:
            raise RawLoopStalled(f"nothing arrived for {STALL_SECONDS:g} s")


def _ignore(_result: pulsar.Result, _message_id: pulsar.MessageId) -> None:
    """The flush at the end waits for the confirmations."""


ROLES = {"source": source, "worker": worker, "fold": fold}


def main() -> None:
    """The command."""
    given = configuration()
    client = pulsar.Client(given["pulsar"], logger=pulsar.ConsoleLogger(pulsar.LoggerLevel.Error))
    try:
        ROLES[given["role"]](client, given)
    finally:
        client.close()


if __name__ == "__main__":
    main()
