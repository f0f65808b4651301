"""Embeddings and text completions of several requests as one upstream call."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from functools import partial
from typing import Any

import msgspec

from workernode.backends.base import Answer, Call, Progress, Sink
from workernode.batching.joining import Share, join, likeness, split
from workernode.classify import Retry, Upstream
from workernode.errors import CallFailed
from workernode.usage import estimated_usage

log = logging.getLogger(__name__)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class JointCalls:
    """Of a backend whose single calls are made by `call`."""

    def __init__(self, call: Callable[[Call, Sink | None], Awaitable[Answer]]) -> None:
        self._call = call

    def likeness(self, call: Call) -> Hashable | None:
        """See `Joint`. A stream runs by itself."""
        return None if call.stream else likeness(call.body)

    async def call_many(self, calls: Sequence[tuple[Call, Sink | None]]) -> Sequence[Answer | CallFailed]:
        """See `Joint`. Where the upstream does not take the call as a whole for what is in it, each is tried alone:
        only the guilty fail.
        """
        members = [call for call, _ in calls]
        if len(members) == 1:
            return [await self._alone(members[0])]
        whole = self._whole(members)
        try:
            answer = await self._call(whole, None)
        except CallFailed as failure:
            if failure.retry is not Retry.NEVER or failure.verdict.upstream is not Upstream.ANSWERED:
                raise
            log.info("a joint call of %d was refused with status %d", len(members), failure.status)
        else:
            shares = split([call.body for call in members], _decode(answer.response))
            if shares is not None:
                return [_answer(*each) for each in zip(members, shares, strict=True)]
            log.warning("the answer to a joint call of %d requests does not tell theirs apart", len(members))
        finally:
            for call in members:
                call.progress.connected_at = whole.progress.connected_at
        return await asyncio.gather(*map(self._alone, members))

    async def _alone(self, call: Call) -> Answer | CallFailed:
        try:
            return await self._call(call, None)
        except CallFailed as failure:
            return failure

    @staticmethod
    def _whole(members: Sequence[Call]) -> Call:
        """The joint call. In the provider's log it has the name of the first, whom the answer's headers reach."""
        first, now = members[0], time.time()
        progress = Progress(heard=first.progress.heard)
        for call in members:
            call.progress.provider = lambda: progress.provider()
            call.progress.usage = partial(estimated_usage, call.body, {})
            call.progress.connected_at = now  # should it be cut off before it is known: it may have cost money
        return Call(first.request_id, join([call.body for call in members]), False, first.headers, progress)


def _answer(call: Call, share: Share) -> Answer:
    usage = share.usage or estimated_usage(call.body, share.response)
    return Answer(_encode(share.response), usage, True, None)
