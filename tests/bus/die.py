"""A process that takes one message, says how many crashes it has seen, and is killed by it.

`python -m tests.bus.die '{"bus_url": "…"}' TOPIC SUBSCRIPTION`
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys

from bus.connect import connect


async def main(address: dict[str, str], topic: str, subscription: str) -> None:
    bus = await connect(**address)
    consumer = await bus.subscribe(topic, subscription, window=1)
    [delivery] = await consumer.receive()
    print(delivery.crashes, flush=True)  # noqa: T201
    await asyncio.sleep(0.02)  # what a call does before it ends its process takes longer
    os.kill(os.getpid(), signal.SIGKILL)


asyncio.run(main(json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]))
