"""Passes an answer on to its client: frames as they come, or the answer from the store, or a named ending."""

from __future__ import annotations

import time

import msgspec

from bus.messages import ReplyFrame
from coordinator.bodies import Asked
from coordinator.exchange import Exchange
from coordinator.metrics import FROM_STORE, INTERRUPTED, first_token
from coordinator.noderesult import decode_node_result
from coordinator.openai import as_chunks, error_body, no_worker, server_error
from coordinator.waiters import Ending, Interrupted, Waiter
from store import Answer

_INTERRUPTED = server_error(502, "The stream was interrupted: a part of the answer was lost.", "stream_interrupted")
_ENDINGS = {
    Ending.EXPIRED: server_error(504, "No answer came in time; the request was stopped.", "request_timeout"),
    Ending.STOPPING: server_error(503, "The gateway is stopping; try again.", "gateway_stopping"),
}


async def answer(exchange: Exchange, asked: Asked, waiter: Waiter, began: float) -> bool:
    """Passes on what comes. Whether the request has ended (if not, its work is to be stopped)."""
    while True:
        try:
            event = await waiter.next()
        except Interrupted:
            INTERRUPTED.inc()
            await exchange.break_off(_INTERRUPTED.error)
            return False
        if isinstance(event, Ending):
            await _end(exchange, asked, event)
            return False
        if isinstance(event, Answer):
            FROM_STORE.inc()
            await _from_store(exchange, asked, event)
            return True
        if event.stored:
            waiter.expects_store = True
            continue
        if not waiter.passed_on and asked.stream and event.status == 200:
            first_token(asked.operation, asked.model).observe(time.perf_counter() - began)
        waiter.passed_on = True
        await _pass_on(exchange, asked, event)
        if event.end:
            return True


async def _end(exchange: Exchange, asked: Asked, ending: Ending) -> None:
    if ending is Ending.GONE:
        exchange.status = 499
        return
    refusal = no_worker(asked.model) if ending is Ending.UNAVAILABLE else _ENDINGS[ending]
    if exchange.started:
        await exchange.break_off(refusal.error)
    else:
        await exchange.whole(refusal.status, error_body(refusal.error))


async def _pass_on(exchange: Exchange, asked: Asked, frame: ReplyFrame) -> None:
    data = bytes(frame.data)
    if frame.status != 200:
        await _fail(exchange, frame.status, data)
    elif not asked.stream:
        await exchange.whole(200, data)
    else:
        await exchange.events([data] if data else [], end=frame.end)


async def _fail(exchange: Exchange, status: int, body: bytes) -> None:
    if exchange.started:
        await exchange.break_off(msgspec.json.decode(body)["error"])
    else:
        await exchange.whole(status, body)


async def _from_store(exchange: Exchange, asked: Asked, found: Answer) -> None:
    result = decode_node_result(found.result)
    if result.outcome != "completed" or found.response is None:
        error = result.error or server_error(500, "The answer was lost.", "answer_lost").error
        await _fail(exchange, result.status if result.error else 500, error_body(error))
    elif not asked.stream:
        await exchange.whole(200, found.response.encode())
    elif exchange.started:
        await exchange.break_off(_INTERRUPTED.error)
    else:
        chunks = as_chunks(asked.operation, found.response.encode(), include_usage=asked.include_usage)
        await exchange.events(chunks, end=True)
