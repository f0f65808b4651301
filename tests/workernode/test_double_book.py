"""The double's book: what chaos compares with the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.double.book import Entry, from_json
from tests.double.scripts import FAULT, HANG
from tests.double.server import Provider
from tests.fixtures.fleet import until


@pytest.fixture
async def booked() -> AsyncIterator[Provider]:
    async with Provider(booked=True, forgetful=True) as double:
        yield double


async def ask(session: aiohttp.ClientSession, double: Provider, name: str, text: str = "Hello.") -> Any:
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    headers = {"authorization": "Bearer k", "x-client-request-id": name}
    async with session.post(double.url + "/v1/chat/completions", json=body, headers=headers) as response:
        return await response.json()


async def book_of(session: aiohttp.ClientSession, double: Provider) -> list[Entry]:
    async with session.get(double.url + "/book") as response:
        return from_json(await response.read())


async def test_every_call_is_in_the_book_with_its_fate(booked: Provider) -> None:
    booked.script(HANG, FAULT)
    async with aiohttp.ClientSession() as session:
        cut_off = asyncio.create_task(ask(session, booked, "first"))
        await until(lambda: booked.book.entries, "the first call has arrived")
        await ask(session, booked, "second")
        await ask(session, booked, "third")
        cut_off.cancel()
        await until(lambda: booked.book.entries[0].fate != "running", "the first call has ended")
        entries = await book_of(session, booked)
    assert {entry.name: entry.fate for entry in entries} == {
        "first": "cut off",
        "second": "refused",
        "third": "answered",
    }
    assert {entry.key for entry in entries} == {"k"}
    assert all(entry.ended_at is not None and entry.began_at <= entry.ended_at for entry in entries)


async def test_it_says_what_it_is_told(booked: Provider) -> None:
    async with aiohttp.ClientSession() as session:
        answer = await ask(session, booked, "n", "Say: [1, 2]")
    assert answer["choices"][0]["message"]["content"] == "[1, 2]"
    assert answer["usage"]["completion_tokens"] == 1


async def test_a_part_of_calls_fails_and_the_seed_says_which() -> None:
    async def fates(seed: int) -> list[bool]:
        async with Provider(fails=0.5, seed=seed) as double, aiohttp.ClientSession() as session:
            return ["error" in await ask(session, double, "n") for _ in range(20)]

    first = await fates(1)
    assert first == await fates(1)
    assert 0 < sum(first) < 20
