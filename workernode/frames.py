"""Frames on their way to gateways: those of one moment leave together."""

from __future__ import annotations

import asyncio
import logging

from bus import messages
from bus.messages import ReplyFrame
from bus.port import CLAIM_CHECK_BYTES, Bus
from core.errors import BusError

log = logging.getLogger(__name__)

# A payload holds at most this many frames' bytes; one frame alone may be larger by its envelope.
PAYLOAD_BYTES = CLAIM_CHECK_BYTES // 2


class FrameSender:
    """Sends frames to channels, in order for each channel, one send under way a channel.

    Frames gather while a send is under way and leave together. A frame that cannot be sent is lost: the gateway
    sees the gap, or finds the answer in the store once it is folded.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._waiting: dict[str, list[ReplyFrame]] = {}
        self._senders: dict[str, asyncio.Task[None]] = {}

    def push(self, channel: str, frame: ReplyFrame) -> None:
        """Takes a frame; returns at once."""
        self._waiting.setdefault(channel, []).append(frame)
        if channel not in self._senders:
            self._senders[channel] = asyncio.create_task(self._send(channel), name=f"frames to {channel}")

    async def drain(self) -> None:
        """Returns when every frame taken so far has been sent or given up."""
        while self._senders:
            await asyncio.wait(list(self._senders.values()))

    async def _send(self, channel: str) -> None:
        try:
            while frames := self._waiting.pop(channel, None):
                for payload in payloads(frames):
                    await self._send_one(channel, payload)
        finally:
            del self._senders[channel]

    async def _send_one(self, channel: str, frames: list[ReplyFrame]) -> None:
        try:
            await self._bus.send(channel, messages.encode(frames))
        except BusError as error:
            log.warning("%d reply frames were not sent: %s", len(frames), error)


def payloads(frames: list[ReplyFrame]) -> list[list[ReplyFrame]]:
    """Splits frames, in order, into groups of at most `PAYLOAD_BYTES` of data (a group has at least one)."""
    groups: list[list[ReplyFrame]] = [[]]
    size = 0
    for frame in frames:
        length = len(bytes(frame.data))
        if groups[-1] and size + length > PAYLOAD_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(frame)
        size += length
    return groups
