"""The operator may be killed at any time: another one goes on."""

from __future__ import annotations

import os
import signal

import openai
import pytest

from tests.double.server import Provider
from tests.e2e.asking import ANSWER
from tests.kubernetes.operators import Asker, Home

pytestmark = [
    pytest.mark.kubernetes,
    pytest.mark.pulsar,
    pytest.mark.kills,
    pytest.mark.xdist_group("installed"),
    pytest.mark.timeout(240),
]


async def test_a_leader_that_is_killed_in_a_rollout_is_followed_by_the_other(
    home: Home, provider: Provider, client: openai.AsyncOpenAI
) -> None:
    installation = home.installation
    await home.apply("gpt", provider, replicas=1, maxProcessNum=4)
    before = await home.scaled("gpt", 1)
    holder = installation.holder()
    asker = Asker(client, home.model, clients=2)
    await home.apply("gpt", provider, replicas=2, maxProcessNum=5)
    os.kill(installation.pid(installation.leader()), signal.SIGKILL)
    await home.until(lambda: installation.holder() not in ("", holder), "another one leads")
    await home.ended(before)
    await home.scaled("gpt", 2)
    await home.kubectl("scale", "aimodel", "gpt", "--replicas=1")
    await home.scaled("gpt", 1)
    await home.state("gpt", "Running")
    assert set(await asker.stop()) == {ANSWER}
    await home.until(lambda: len(installation.ready_operators()) == 2, "the killed one is back")
