"""How an answer gets back to whoever asked: over the gateway's channel, to the message's endpoint, or not at all."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from bus.messages import ReplyFrame, RequestMessage
from bus.port import CLAIM_CHECK_BYTES
from workernode.frames import FrameSender


class Reply(Protocol):
    """One request's way back."""

    @property
    def started(self) -> bool:
        """The client has seen a part of the answer, so it cannot begin anew."""

    def chunk(self, data: bytes) -> None:
        """One chunk of a streamed answer; returns at once."""

    async def answer(self, response: bytes) -> None:
        """The whole answer of a plain request, or the end of a stream (whose chunks have left before)."""

    async def fail(self, status: int, error: dict[str, Any]) -> None:
        """The OpenAI error object's inside, with its HTTP status. Ends a stream as well."""

    async def close(self) -> None:
        """Gives up what the reply holds, told or not."""


class NoReply:
    """The message asks for no direct reply: the result topic alone tells."""

    started = False

    def chunk(self, data: bytes) -> None:
        """Nobody listens."""

    async def answer(self, response: bytes) -> None:
        """Nobody listens."""

    async def fail(self, status: int, error: dict[str, Any]) -> None:
        """Nobody listens."""

    async def close(self) -> None:
        """Nothing is held."""


class GatewayReply:
    """Frames to the gateway that waits."""

    def __init__(self, frames: FrameSender, channel: str, request: RequestMessage, event_id: str) -> None:
        self.started = False
        self._frames = frames
        self._channel = channel
        self._request_id = request.request_id
        self._stream = request.stream
        self._event_id = event_id
        self._seq = 0

    def chunk(self, data: bytes) -> None:
        self.started = True
        self._push(data=msgspec.Raw(data))

    async def answer(self, response: bytes) -> None:
        if self._stream:
            self._push(end=True)
        elif len(response) > CLAIM_CHECK_BYTES:
            self._push(end=True, stored=True)
        else:
            self._push(end=True, data=msgspec.Raw(response))

    async def fail(self, status: int, error: dict[str, Any]) -> None:
        self._push(end=True, status=status, data=msgspec.Raw(msgspec.json.encode({"error": error})))

    async def close(self) -> None:
        """Frames taken are on their way."""

    def _push(self, **fields: Any) -> None:
        frame = ReplyFrame(request_id=self._request_id, event_id=self._event_id, seq=self._seq, **fields)
        self._seq += 1
        self._frames.push(self._channel, frame)
