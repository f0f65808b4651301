"""Two operators as processes: one leads, the other takes over, and who was away does no harm."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping

import pytest

from coordinator.operator.cluster.health import Contact
from coordinator.operator.cluster.kinds import LEASES
from coordinator.operator.cluster.kube import Kube
from coordinator.operator.cluster.leader import Leader
from coordinator.operator.cluster.lease import Candidacy
from core.cluster import ClusterError
from core.liveness import Beat
from core.loopwatch import now
from core.run import Stop
from tests.kubernetes.operator_process import Bench, Operator
from tests.kubernetes.workloads import until

pytestmark = [pytest.mark.kubernetes, pytest.mark.xdist_group("kubernetes"), pytest.mark.kills]

# Too long to be waited for: who leads within the test's time was told that it may.
LONG = {"AGENTOS_LEASE_SECONDS": "600"}


async def two(bench: Bench, settings: Mapping[str, str] | None = None) -> tuple[Operator, Operator]:
    """The one that leads, and the other."""
    leader = bench.operator(settings)
    await leader.ready()
    assert leader.leads()
    follower = bench.operator(settings)
    await follower.ready()
    assert not follower.leads()
    assert follower.ask("/health")[0] == 200
    return leader, follower


def written(operator: Operator) -> float:
    """How many requests of it to write have been accepted, those for the Lease aside."""
    lines = operator.ask("/metrics")[1].splitlines()
    patches = [line for line in lines if line.startswith('agentos_operator_api_calls_total{status="2')]
    return sum(float(line.rpartition(" ")[2]) for line in patches if 'verb="patch"' in line)


async def test_one_that_is_stopped_lets_the_other_lead_at_once(bench: Bench) -> None:
    leader, follower = await two(bench, LONG)
    assert await leader.stopped() == 0
    await until(follower.leads, "the other leads")
    bench.make("gpt")
    await bench.state("gpt", "Idle")
    assert await follower.stopped() == 0
    assert bench.holder() == ""


async def test_when_the_leader_is_killed_the_other_leads(bench: Bench) -> None:
    leader, follower = await two(bench)
    leader.kill()
    bench.make("gpt")
    await until(follower.leads, "the other leads")
    await bench.state("gpt", "Idle")


async def test_one_that_wakes_up_writes_nothing_any_more(bench: Bench) -> None:
    leader, follower = await two(bench)
    bench.make("gpt")
    await bench.state("gpt", "Idle")

    def settled() -> bool:
        told = bench.status("gpt").get("conditions", [])
        return any(each["reason"] == "Settled" for each in told) and len(bench.events("gpt")) == 1

    await until(settled, "nothing is left to be written")
    before = written(leader)
    assert before > 0
    leader.signal(signal.SIGSTOP)
    # Its watches have brought this when it wakes up.
    bench.make("other", replicas=1)
    await until(follower.leads, "the other leads")
    await bench.state("other", "Pending")
    bench.cluster.ask("DELETE", bench.path("deployments", "other-deployment"))
    await until(lambda: bench.find("deployments", "other-deployment"), "it is made again")

    leader.signal(signal.SIGCONT)
    await until(lambda: not leader.leads(), "it knows that it leads no more")
    await leader.ready()
    assert leader.ask("/health")[0] == 200
    assert written(leader) == before
    assert follower.leads()
    # It stands for election again.
    assert await follower.stopped() == 0
    await until(leader.leads, "it leads again")
    bench.make("third")
    await bench.state("third", "Idle")


async def test_who_does_not_reach_the_api_server_leads_no_more_and_then_again(bench: Bench) -> None:
    leader, follower = await two(bench)
    with bench.cluster.frozen():
        await until(lambda: not leader.leads() and not follower.leads(), "nobody leads")
        assert leader.ask("/ready")[0] == 503
        assert follower.ask("/ready")[0] == 503
        assert leader.ask("/health")[0] == follower.ask("/health")[0] == 200
    await until(lambda: leader.leads() != follower.leads(), "one leads")
    bench.make("gpt")
    await bench.state("gpt", "Idle")


async def test_what_leads_may_write_until_the_lease_is_another_s(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(bench.cluster.kubeconfig()))
    contact, stop, beat = Contact(now), Stop(), Beat(60.0, now)
    async with Kube.connect(contact) as kube:
        leader = Leader(kube, Candidacy("a", 6.0), contact, namespace=bench.namespace, name="lease")
        guarded = kube.guarded(leader.check)
        terms: list[str] = []

        async def write(name: str) -> None:
            await guarded.create(LEASES, bench.namespace, {"metadata": {"name": name}, "spec": {}})

        async def work() -> None:
            await write(f"term-{len(terms)}")
            terms.append("began")
            try:
                await asyncio.Event().wait()
            finally:
                terms.append("ended")

        with pytest.raises(ClusterError, match="another may lead"):
            await write("before")
        running = asyncio.create_task(leader.run(work, stop, beat))
        await until(lambda: terms == ["began"], "it leads")
        bench.change("leases", "lease", lambda found: found["spec"].update(holderIdentity="b"))
        await until(lambda: terms == ["began", "ended"], "it leads no more")
        with pytest.raises(ClusterError, match="another may lead"):
            await write("after")
        await until(lambda: len(terms) == 3, "b has not renewed it")
        stop.signal()
        await running
    found = {each["metadata"]["name"]: each for each in bench.cluster.ask("GET", bench.path("leases"))["items"]}
    assert found.keys() == {"lease", "term-0", "term-2"}
    assert found["lease"]["spec"]["holderIdentity"] == ""
