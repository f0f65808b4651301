"""The mock backend: a fixed answer at a set pace, failures in a set pattern; a request may ask for another answer."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from bus.messages import NodeType
from core.errors import BadMessage, ConfigurationError
from policy.slo.profile import Profile
from workernode.backends.base import Answer, Call, Sink
from workernode.backends.mock_answers import MockAnswer
from workernode.backends.mock_batches import StagedBatches
from workernode.backends.mock_knobs import FIELD, Knobs, knobs_of
from workernode.batching.table import read_table
from workernode.billing import provider_of
from workernode.classify import Loss, lost, refused
from workernode.errors import CallFailed
from workernode.resources import Capacity
from workernode.settings import WorkerSettings


class MockBackend:
    """Answers `settings.mock_text`, or what the request asks for (`Knobs`). A word is a token and a chunk.

    With `settings.mock_batch_seconds` it is a machine that serves one batch after another, as `StagedBatches` does.
    """

    node_type: NodeType = "mock"

    def __init__(self, settings: WorkerSettings) -> None:
        self.slots = settings.max_process_num
        self._settings = settings
        self._words = _words(settings.mock_text)
        stages = read_table(settings.mock_batch_seconds, "AGENTOS_MOCK_BATCH_SECONDS")
        self.joint = StagedBatches(Profile(stages), self._answered) if stages else None
        self._outcomes = _outcomes(settings.mock_failures)

    async def start(self) -> None:
        """Nothing to start."""

    async def close(self) -> None:
        """Nothing to close."""

    async def check(self) -> None:
        """Always ready."""

    def capacity(self) -> Capacity:
        return Capacity(self.slots)

    async def call(self, call: Call, sink: Sink | None) -> Answer:
        if self.joint is not None:
            return await self.joint.call(call, sink)
        call.progress.connected_at = time.time()
        return await self._answered(call, sink, self._settings.mock_delay_seconds)

    async def _answered(self, call: Call, sink: Sink | None, delay: float) -> Answer:
        """`delay`: seconds, where the request asks for none of its own."""
        outcome = next(self._outcomes)
        if outcome == "hang":
            await asyncio.sleep(self._settings.call_timeout_seconds)
            raise CallFailed(lost(Loss.CALL_TIME))
        knobs = _asked(call.body) if FIELD in call.body else None
        if knobs is not None and knobs.delay_seconds is not None:
            delay = knobs.delay_seconds
        if delay:
            await asyncio.sleep(delay)
        if outcome not in ("200", "drop"):
            raise CallFailed(refused(int(outcome), _error(outcome), {}, now=time.time()))
        words = self._words if knobs is None else _words(await _made(knobs, self._settings.mock_text))
        return await self._answer(call, sink if call.stream else None, words, drop=outcome == "drop")

    async def _answer(self, call: Call, sink: Sink | None, words: list[str], *, drop: bool) -> Answer:
        first_token_at = call.progress.first_token_at = time.time()
        answer = MockAnswer(
            call.body,
            words[: len(words) // 2] if drop else words,
            request_id=call.request_id,
            model=self._settings.model_name,
            created=int(first_token_at),
        )
        call.progress.provider = partial(provider_of, "mock", 200, None, answer.head)
        if sink is not None:
            await self._stream(answer, sink, call)
        elif self._settings.mock_tokens_per_second:
            await asyncio.sleep(answer.tokens / self._settings.mock_tokens_per_second)
        if drop:
            raise CallFailed(lost(Loss.CONNECTION), usage=answer.usage)
        if sink is not None:
            for chunk in answer.last_chunks():
                sink.chunk(chunk)
        return Answer(answer.whole(), answer.usage, False, first_token_at)

    async def _stream(self, answer: MockAnswer, sink: Sink, call: Call) -> None:
        number = 0
        call.progress.usage = lambda: answer.usage_after(min(number, answer.tokens))
        pace = self._settings.mock_tokens_per_second
        for chunk in answer.chunks():
            if pace and number:
                await asyncio.sleep(1 / pace)
            sink.chunk(chunk)
            number += 1


def _words(text: str) -> list[str]:
    words = text.split(" ") if text else []
    return [word + " " for word in words[:-1]] + words[-1:]


def _asked(body: dict[str, Any]) -> Knobs | None:
    try:
        return knobs_of(body)
    except BadMessage as bad:
        error = {"message": str(bad), "type": "invalid_request_error", "param": FIELD, "code": "invalid_agentos_mock"}
        raise CallFailed(refused(400, error, {}, now=time.time())) from None


async def _made(knobs: Knobs, own: str) -> str:
    """The answer's text, not before its time."""
    began = time.perf_counter()
    text = knobs.says(own)
    rest = knobs.sleep_seconds - (time.perf_counter() - began)
    if rest > 0:
        await asyncio.sleep(rest)
    return text


def _outcomes(pattern: str) -> Iterator[str]:
    outcomes = [each.strip() for each in pattern.split(",")] if pattern.strip() else ["200"]
    for each in outcomes:
        if each not in ("hang", "drop", "200") and not (each.isdecimal() and 400 <= int(each) <= 599):
            raise ConfigurationError(
                f"AGENTOS_MOCK_FAILURES: {each!r} is none of 200, a status from 400 to 599, hang, drop"
            )
    return itertools.cycle(outcomes)


_CODES = {"401": "invalid_api_key", "404": "model_not_found", "429": "rate_limit_exceeded"}


def _error(status: str) -> dict[str, Any]:
    code = _CODES.get(status)
    return {
        "message": f"The mock backend answers {status} by its pattern.",
        "type": code,
        "param": None,
        "code": code,
    }
