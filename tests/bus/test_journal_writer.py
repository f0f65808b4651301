from __future__ import annotations

import asyncio

import uvloop

from bus.pulsar.journal_writer import JournalWriter

# Sooner than uvloop's clock can tell from now.
AT_ONCE = 0.0003


def test_what_is_due_at_once_may_be_wanted_twice() -> None:
    async def write() -> list[bytes]:
        written: list[bytes] = []
        done = asyncio.Event()

        async def publish(record: bytes) -> None:
            written.append(record)
            done.set()

        writer = JournalWriter("consumer", "topic", publish)
        writer.open = True
        writer.soon(AT_ONCE)
        writer.soon(AT_ONCE / 2)
        await done.wait()
        await writer.leave()
        writer.close()
        return written

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert len(runner.run(write())) == 2
