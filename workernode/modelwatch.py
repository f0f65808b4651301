"""Looks at a model's server every second: does it answer, does it work, how much room has it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import re
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import msgspec
import psutil

from workernode.machine import read_machine
from workernode.modelprocess import ModelProcess
from workernode.resources import Capacity, Model, Resources

LOOK_SECONDS = 1.0
ANSWER_SECONDS = 5.0
# Looks in a row that are not answered: the process hangs.
UNANSWERED = 3
# A long prompt is one step of the model, during which it does not tell of its slots, but computes.
STUCK_SECONDS = 60.0
STUCK_CPU_SECONDS = 1.0

_DECODES = re.compile(rb"^llamacpp:n_decode_total (\d+)", re.MULTILINE)
_decode = msgspec.json.Decoder().decode


class ModelWatch:
    """Looks at one run of a model's process; tells `changed` the capacity at every look."""

    def __init__(self, process: ModelProcess, resources: Resources, changed: Callable[[Capacity], None]) -> None:
        self._process = process
        self._resources = resources
        self._changed = changed
        self._told = True
        self._told_at = time.monotonic()
        self._cpu = 0.0

    async def until_hung(self) -> str:
        """Returns why, once the process should be ended. Cancel it when the process has ended by itself."""
        silent = 0
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        async with aiohttp.ClientSession(self._process.address, timeout=timeout) as session:
            while True:
                healthy = await _get(session, "/health") is not None
                silent = 0 if healthy else silent + 1
                if silent == UNANSWERED:
                    return f"answers no longer ({UNANSWERED} times {ANSWER_SECONDS:g} s)"
                model = await self._model(session) if healthy else None
                if healthy and self._stuck():
                    return f"does nothing although it is busy ({STUCK_SECONDS:g} s)"
                self._changed(self._resources.update(time.monotonic(), read_machine(), model))
                await asyncio.sleep(LOOK_SECONDS)

    async def _model(self, session: aiohttp.ClientSession) -> Model | None:
        slots, metrics = await _get(session, "/slots"), await _get(session, "/metrics")
        self._told = slots is not None
        model = model_of(slots or b"", metrics or b"")
        if model is None or self._process.shares_context:
            return model
        return dataclasses.replace(model, context=None)

    def _stuck(self) -> bool:
        if self._told:
            self._told_at, self._cpu = time.monotonic(), self._cpu_seconds()
            return False
        idle = self._cpu_seconds() - self._cpu < STUCK_CPU_SECONDS
        return idle and time.monotonic() - self._told_at >= STUCK_SECONDS

    def _cpu_seconds(self) -> float:
        with contextlib.suppress(psutil.Error):  # it has just ended
            own = psutil.Process(self._process.pid)
            return sum(sum(each.cpu_times()[:2]) for each in [own, *own.children(recursive=True)])
        return 0.0


async def _get(session: aiohttp.ClientSession, path: str) -> bytes | None:
    """What it answers, whatever the status (empty for errors); None if nothing in time."""
    try:
        async with session.get(path) as response:
            body = await response.read()
            return body if response.status == 200 else b""
    except (aiohttp.ClientError, TimeoutError):
        return None


def model_of(slots: bytes, metrics: bytes) -> Model | None:
    """What llama.cpp's /slots and /metrics tell; None if it tells nothing (older ones, or switched off)."""
    try:
        told = _decode(slots)
    except msgspec.DecodeError:
        return None
    if not isinstance(told, list) or not all(isinstance(each, dict) for each in told):
        return None
    busy = [each for each in told if each.get("is_processing")]
    decodes = _DECODES.search(metrics)
    contexts = [_count(each, "n_ctx") for each in told]
    used = sum(_count(each, "n_prompt_tokens") for each in busy)
    return Model(len(busy), int(decodes[1]) if decodes else None, used, max(contexts, default=0) or None)


def _count(slot: dict[str, Any], name: str) -> int:
    value = slot.get(name)
    return value if isinstance(value, int) else 0
