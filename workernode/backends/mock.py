"""The mock backend: a fixed answer at a set pace, failures in a set pattern; a request may ask for another answer."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec

from bus.messages import NodeType, Usage
from core.errors import BadMessage, ConfigurationError
from workernode.backends.base import Answer, Call, Sink
from workernode.backends.mock_knobs import FIELD, Knobs, knobs_of
from workernode.billing import provider_of
from workernode.classify import Loss, lost, refused
from workernode.errors import CallFailed
from workernode.resources import Capacity
from workernode.settings import WorkerSettings
from workernode.stream import asks_for_usage

_encode = msgspec.json.Encoder().encode


class MockBackend:
    """Answers `settings.mock_text`, or what the request asks for (`Knobs`). A word is a token and a chunk."""

    node_type: NodeType = "mock"

    def __init__(self, settings: WorkerSettings) -> None:
        self.slots = settings.max_process_num
        self._settings = settings
        self._words = _words(settings.mock_text)
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
        knobs = _asked(call.body) if FIELD in call.body else None
        delay = self._settings.mock_delay_seconds
        if knobs is not None and knobs.delay_seconds is not None:
            delay = knobs.delay_seconds
        if delay:
            await asyncio.sleep(delay)
        if outcome not in ("200", "drop"):
            raise CallFailed(refused(int(outcome), _error(outcome), {}, now=time.time()))
        text, words = self._settings.mock_text, self._words
        if knobs is not None:
            text = await _made(knobs, text)
            words = _words(text)
        return await self._answer(call, sink if call.stream else None, text, words, drop=outcome == "drop")

    async def _answer(self, call: Call, sink: Sink | None, text: str, words: list[str], *, drop: bool) -> Answer:
        prompt, said = prompt_words(call.body), words[: len(words) // 2] if drop else words
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
        message = {"role": "assistant", "content": text}
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
