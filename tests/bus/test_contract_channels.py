"""What every bus promises about channels."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self

import pytest

from bus.port import Bus, Listening
from tests.bus.conftest import PATIENCE, Connect


class Heard:
    """A handler that remembers."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self._changed = asyncio.Event()
        self.listening: Listening | None = None

    def __call__(self, frame: bytes) -> None:
        self.frames.append(frame)
        self._changed.set()

    @classmethod
    async def on(cls, bus: Bus, channel: str) -> Self:
        heard = cls()
        heard.listening = await bus.listen(channel, heard)
        return heard

    async def until(self, condition: Callable[[list[bytes]], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition(self.frames):
                self._changed.clear()
                await self._changed.wait()


def frames(count: int) -> list[bytes]:
    return [b'{"n": %d}' % number for number in range(count)]


async def test_a_frame_reaches_everybody_who_listens_now_and_nobody_later(connect: Connect, topic: str) -> None:
    sender = await connect()
    present = [await Heard.on(bus, topic) for bus in (sender, await connect(), await connect())]
    await sender.send(topic, b"early")
    for heard in present:
        await heard.until(lambda got: b"early" in got)
    late = await Heard.on(await connect(), topic)
    await sender.send(topic, b"end")
    for heard in [*present, late]:
        await heard.until(lambda got: b"end" in got)
    assert [heard.frames for heard in present] == [[b"early", b"end"]] * 3
    assert late.frames == [b"end"]


async def test_frames_of_one_sender_keep_their_order(connect: Connect, topic: str) -> None:
    sender = await connect()
    heard = await Heard.on(await connect(), topic)
    for frame in frames(100):
        await sender.send(topic, frame)
    await asyncio.gather(*(sender.send(topic, frame) for frame in frames(100)))
    await heard.until(lambda got: len(got) == 200)
    assert heard.frames == frames(100) * 2


async def test_large_frames_arrive_in_their_place(connect: Connect, topic: str) -> None:
    sender = await connect()
    heard = await Heard.on(await connect(), topic)
    sent = [b"1", b"x" * 100_000, b"2", "é".encode() * 4000, b"3", b"y" * (1 << 20), b"4"]
    await asyncio.gather(*(sender.send(topic, frame) for frame in sent))
    await heard.until(lambda got: len(got) == len(sent))
    assert heard.frames == sent


@pytest.mark.parametrize("frame", [b"", b"#1", b"zero \0 byte", "ключ 🔑".encode()], ids=repr)
async def test_equal_frames_all_arrive_whatever_they_hold(bus: Bus, topic: str, frame: bytes) -> None:
    heard = await Heard.on(bus, topic)
    await asyncio.gather(*(bus.send(topic, frame) for _ in range(5)))
    await heard.until(lambda got: len(got) == 5)
    assert heard.frames == [frame] * 5


async def test_channels_do_not_hear_each_other(bus: Bus, topic: str) -> None:
    long = topic + "-" + "x" * 150
    channels = {name: await Heard.on(bus, name) for name in (topic, topic + "2", long + "1", long + "2")}
    for name in channels:
        await bus.send(name, name.encode())
    for name, heard in channels.items():
        await heard.until(len)
        assert heard.frames == [name.encode()]


async def test_who_has_stopped_listening_hears_nothing_more(bus: Bus, topic: str) -> None:
    stopped, stays = await Heard.on(bus, topic), await Heard.on(bus, topic)
    assert stopped.listening is not None
    await stopped.listening.close()
    await stopped.listening.close()
    await bus.send(topic, b"{}")
    await stays.until(lambda got: got == [b"{}"])
    assert stopped.frames == []


async def test_sending_to_nobody_is_no_error(bus: Bus, topic: str) -> None:
    await bus.send(topic, b"{}")
