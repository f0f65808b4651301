"""The mock backend: a fixed answer at a set pace, failures in a set pattern."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec

from bus.messages import NodeType, Usage
from core.errors import ConfigurationError
from workernode.backends.base import Answer, Call, Sink
from workernode.billing import provider_of
from workernode.classify import Loss, lost, refused
from workernode.errors import CallFailed
from workernode.resources import Capacity
from workernode.settings import WorkerSettings
from workernode.stream import asks_for_usage

_encode = msgspec.json.Encoder().encode


class MockBackend:
    """Answers `settings.mock_text`. A word counts as a token and is a chunk."""

    node_type: NodeType = "mock"

    def __init__(self, settings: WorkerSettings) -> None:
        self.slots = settings.max_process_num
        self._settings = settings
        words = settings.mock_text.split(" ")
        self._words = [word + " " for word in words[:-1]] + words[-1:]
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
        outcome = next(self._outcomes)
        call.progress.connected_at = time.time()
        if outcome == "hang":
            await asyncio.sleep(self._settings.call_timeout_seconds)
            raise CallFailed(lost(Loss.CALL_TIME))
        if self._settings.mock_delay_seconds:
            await asyncio.sleep(self._settings.mock_delay_seconds)
        if outcome not in ("200", "drop"):
            raise CallFailed(refused(int(outcome), _error(outcome), {}, now=time.time()))
        return await self._answer(call, sink if call.stream else None, drop=outcome == "drop")

    async def _answer(self, call: Call, sink: Sink | None, *, drop: bool) -> Answer:
        prompt, said = prompt_words(call.body), self._words[: len(self._words) // 2] if drop else self._words
        usage = Usage(prompt, len(said), prompt + len(said))
        first_token_at = call.progress.first_token_at = time.time()
        head = {
            "id": "chatcmpl-" + call.request_id,
            "created": int(first_token_at),
            "model": call.body.get("model") or self._settings.model_name,
        }
        call.progress.provider = partial(provider_of, "mock", 200, None, head)
        if sink is not None:
            await self._stream(head, said, sink, call, prompt)
        elif self._settings.mock_tokens_per_second:
            await asyncio.sleep(len(said) / self._settings.mock_tokens_per_second)
        if drop:
            raise CallFailed(lost(Loss.CONNECTION), usage=usage)
        if sink is not None:
            self._end_stream(head, usage, call, sink)
        message = {"role": "assistant", "content": self._settings.mock_text}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        response = _encode({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
        return Answer(response, usage, False, first_token_at)

    async def _stream(self, head: dict[str, Any], said: list[str], sink: Sink, call: Call, prompt: int) -> None:
        number = 0
        call.progress.usage = lambda: Usage(prompt, number, prompt + number)
        pace = self._settings.mock_tokens_per_second
        for word in said:
            if pace and number:
                await asyncio.sleep(1 / pace)
            delta = {"content": word} if number else {"role": "assistant", "content": word}
            sink.chunk(_chunk(head, delta, None))
            number += 1

    @staticmethod
    def _end_stream(head: dict[str, Any], usage: Usage, call: Call, sink: Sink) -> None:
        sink.chunk(_chunk(head, {}, "stop"))
        if asks_for_usage(call.body):
            sink.chunk(_encode({**head, "object": "chat.completion.chunk", "choices": [], "usage": usage}))


def _chunk(head: dict[str, Any], delta: dict[str, Any], finish_reason: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return _encode({**head, "object": "chat.completion.chunk", "choices": [choice]})


def prompt_words(body: dict[str, Any]) -> int:
    """Words in the text of a request's messages."""
    messages = body.get("messages")
    contents = (
        [each.get("content") for each in messages if isinstance(each, dict)] if isinstance(messages, list) else []
    )
    return sum(len(content.split()) for content in contents if isinstance(content, str))


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
