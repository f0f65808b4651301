"""Channels: frames as notifications, or beside them where they are too large."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import Callable

from bus.postgres.line import Line
from bus.postgres.pools import Pools
from core.batcher import Batcher
from core.errors import BusUnavailable, MessageRefused

log = logging.getLogger(__name__)

# Postgres takes payloads below 8,000 bytes and names below 64.
_MAX_PAYLOAD = 7900
_MAX_NAME = 63

# The number before the frame keeps equal frames of one transaction apart: Postgres would send them once.
_SEND = """
select count(pg_notify(channel, n || ':' || frame))
from unnest($1::text[], $2::text[]) with ordinality t (channel, frame, n)
"""
# Each new frame takes the oldest with it, once nobody can want them any more.
_STORE = """
with gone as (
    delete from agentos_bus.frames where id = any (array(
        select id from (select id, sent_at from agentos_bus.frames order by id limit 10) oldest
        where sent_at < now() - interval '1 minute'
    ))
)
insert into agentos_bus.frames (data) values ($1) returning id
"""
_FETCH = """
select data from agentos_bus.frames where id = $1
"""


class Channels:
    """Sends and hears frames."""

    def __init__(self, pools: Pools, line: Line) -> None:
        self._pools = pools
        self._line = line
        self._batcher: Batcher[tuple[str, str], None] = Batcher(self._flush)

    async def send(self, channel: str, frame: bytes) -> None:
        try:
            text = frame.decode()
        except UnicodeDecodeError as error:
            raise MessageRefused("a frame must be valid UTF-8") from error
        await self._batcher.submit((channel_name(channel), text))

    async def listen(self, channel: str, handler: Callable[[bytes], None]) -> ChannelListening:
        listening = ChannelListening(self._pools, self._line, channel_name(channel), handler)
        await self._line.hear(listening.channel, listening.heard)
        return listening

    async def drain(self) -> None:
        await self._batcher.drain()

    async def _flush(self, frames: list[tuple[str, str]]) -> list[None]:
        payloads = [await self._payload(frame) for _, frame in frames]
        await self._pools.quick(_SEND, [channel for channel, _ in frames], payloads)
        return [None] * len(frames)

    async def _payload(self, frame: str) -> str:
        """The frame itself, or `#` and the number of its row."""
        data = frame.encode()
        # A notification cannot hold a zero byte.
        if len(data) <= _MAX_PAYLOAD and "\0" not in frame and not frame.startswith("#"):
            return frame
        return f"#{(await self._pools.quick(_STORE, data))[0]['id']}"


class ChannelListening:
    """Hands frames to a handler in the order of their notifications: those behind a large one wait for it."""

    def __init__(self, pools: Pools, line: Line, channel: str, handler: Callable[[bytes], None]) -> None:
        self.channel = channel
        self._pools = pools
        self._line = line
        self._handler = handler
        self._waiting: deque[str] = deque()
        self._fetching: asyncio.Task[None] | None = None

    def heard(self, payload: str) -> None:
        text = payload.partition(":")[2]
        if self._fetching is None and not text.startswith("#"):
            self._handler(text.encode())
            return
        self._waiting.append(text)
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch())

    async def close(self) -> None:
        """See `bus.port.Listening`."""
        await self._line.unhear(self.channel, self.heard)
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    async def _fetch(self) -> None:
        try:
            while self._waiting:
                text = self._waiting.popleft()
                frame = await self._stored(int(text[1:])) if text.startswith("#") else text.encode()
                if frame is not None:
                    self._handler(frame)
        finally:
            self._fetching = None

    async def _stored(self, number: int) -> bytes | None:
        """Nothing where the frame is lost: channels deliver at most once."""
        try:
            rows = await self._pools.quick(_FETCH, number)
        except BusUnavailable:
            log.warning("bus: a frame was lost together with the connection to Postgres")
            return None
        return bytes(rows[0]["data"]) if rows else None


def channel_name(channel: str) -> str:
    """The name as Postgres knows it. Long names are hashed."""
    name = "agentos_bus:" + channel
    if len(name.encode()) <= _MAX_NAME:
        return name
    return "agentos_bus#" + hashlib.blake2b(channel.encode(), digest_size=20).hexdigest()
