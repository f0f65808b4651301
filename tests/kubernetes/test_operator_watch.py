"""Watches that die without a word, and credentials that change."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures.kubernetes import ADMIN, Namespace, kubeconfig
from tests.kubernetes.operator_process import Bench
from tests.kubernetes.swallowing import swallowing
from tests.kubernetes.workloads import until

pytestmark = [pytest.mark.kubernetes, pytest.mark.xdist_group("kubernetes")]

# Lists and renewals of the Lease speak more often; a watch says nothing.
SILENT_SECONDS = 3.5


async def test_what_dead_watches_do_not_bring_the_resync_brings(bench: Bench, tmp_path: Path) -> None:
    with swallowing(bench.cluster.port) as proxy:
        file = tmp_path / "proxied"
        file.write_text(kubeconfig(f"https://127.0.0.1:{proxy.port}", bench.cluster.ca, ADMIN))
        operator = bench.operator({"AGENTOS_RESYNC_SECONDS": "2", "AGENTOS_LEASE_SECONDS": "30"}, file)
        bench.make("gpt")
        await bench.state("gpt", "Idle")
        await operator.ready()

        swallowed = 0

        def swallow() -> int:
            nonlocal swallowed
            swallowed += proxy.swallow(SILENT_SECONDS)
            return swallowed

        await until(lambda: swallow() >= 3, "the three watches are dead")
        bench.make("late")
        bench.change("aimodels", "gpt", lambda found: found["spec"].update(image="registry.example.com/new:1"))
        await bench.state("late", "Idle")
        await bench.state("gpt", "Idle")
        bench.cluster.ask("DELETE", bench.path("aimodels", "late"))

        def missed() -> bool:
            swallow()  # one that had not been silent for long enough, too
            bench.change("aimodels", "gpt", lambda found: found["spec"].update(maxProcessNum=1 + swallowed % 50))
            return operator.metric("agentos_operator_missed_changes_total") >= 1

        await until(missed, "it is counted")
        await until(lambda: operator.metric("agentos_operator_watches_ended_total") >= 1, "they begin again")
        assert "changes were listed that no watch has brought" in operator.log()
        assert operator.ask("/health")[0] == 200
        assert operator.leads()
        await operator.ready()


async def test_credentials_are_read_anew_when_they_are_taken_no_more(
    bench: Bench, namespace: Namespace, tmp_path: Path
) -> None:
    file = tmp_path / "of-account"
    accounts = bench.path("serviceaccounts", "worker")
    rule = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
    namespace.grant(rule)

    def log_in() -> None:
        request = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1"}
        token = bench.cluster.ask("POST", f"{accounts}/token", request)["status"]["token"]
        file.write_text(kubeconfig(bench.cluster.url, bench.cluster.ca, token))

    log_in()
    operator = bench.operator(kubeconfig=file)
    bench.make("gpt")
    await bench.state("gpt", "Idle")
    bench.cluster.ask("DELETE", accounts)
    await until(lambda: "status 401" in operator.ask("/ready")[1], "its token is taken no more")
    assert operator.ask("/health")[0] == 200

    bench.cluster.ask("POST", bench.path("serviceaccounts"), {"metadata": {"name": "worker"}})
    log_in()
    await until(operator.leads, "it leads again")
    await operator.ready()
    bench.make("next")
    await bench.state("next", "Idle")
    # By a watch: the next resync is a minute away.
    bench.change("aimodels", "next", lambda found: found["spec"].update(replicas=1))
    await bench.state("next", "Pending", seconds=30)
