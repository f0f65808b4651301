from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workload.errors import GatewayUnavailable
from workload.sending import Request, cut, send_all, send_req

REQUESTS: list[Request] = [{"model": "m", "messages": [], "number": number} for number in range(20)]


@given(st.integers(0, 20), st.integers(1, 7), st.integers(0, 5), st.randoms())
def test_bursts_hold_every_request_once_in_order(count: int, least: int, more: int, rng: random.Random) -> None:
    batches = list(cut(REQUESTS[:count], lambda: rng.randint(least, least + more)))
    assert [request for batch in batches for request in batch] == REQUESTS[:count]
    assert all(least <= len(batch) <= least + more for batch in batches[:-1])
    assert all(batches)


async def test_what_nobody_answers_is_told_with_its_latency(unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}"
    with pytest.raises(GatewayUnavailable, match="nothing answers"):
        await send_req(url, REQUESTS[0])
    responses, latencies = await send_all(url, REQUESTS[:3])
    assert [type(response) for response in responses] == [GatewayUnavailable] * 3
    assert len(latencies) == 3
