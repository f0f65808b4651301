"""A process that takes messages, says so on standard output, and never settles them.

`python -m tests.bus.hold '{"bus_url": "…"}' TOPIC SUBSCRIPTION`
"""

from __future__ import annotations

import asyncio
import json
import sys

from bus.connect import connect


async def main(address: dict[str, str], topic: str, subscription: str) -> None:
    bus = await connect(**address)
    consumer = await bus.subscribe(topic, subscription, window=100)
    while True:
        for _ in await consumer.receive():
            print("held", flush=True)  # noqa: T201


asyncio.run(main(json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]))
