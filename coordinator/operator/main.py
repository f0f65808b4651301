"""Starts an operator: one of them leads, and works; the others wait."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import uuid

from bus.connect import connect
from bus.port import Bus
from coordinator.operator.cluster.health import Contact, Sync
from coordinator.operator.cluster.kube import Kube
from coordinator.operator.cluster.leader import Leader
from coordinator.operator.cluster.lease import Candidacy
from coordinator.operator.settings import OperatorSettings
from coordinator.operator.term import Term
from core import http, log
from core.cluster import need_cluster
from core.loopwatch import LoopWatch, now
from core.probes import serving_probes
from core.run import Stop, run

logger = logging.getLogger(__name__)

# A candidate looks at the Lease every few seconds; what led may take some to end.
ELECTION_SILENCE = 120.0


def main(settings: OperatorSettings) -> int:
    """Runs until a signal; returns the exit code. Raises `ConfigurationError`."""
    log.set_up(debug=settings.debug)
    need_cluster(os.environ)
    return run(lambda stop: operator(settings, stop))


async def operator(settings: OperatorSettings, stop: Stop) -> None:
    """An operator's whole life. Raises an `AgentOSError` if it cannot start or cannot go on."""
    async with contextlib.AsyncExitStack() as stack:
        watch = stack.enter_context(LoopWatch())
        listener = http.listen(settings.host, settings.port)
        stack.callback(listener.close)
        contact, sync = Contact(now), Sync(now, settings.resync_seconds)
        kube = await stack.enter_async_context(Kube.connect(contact))
        identity = f"{socket.gethostname()}_{uuid.uuid4()}"
        namespace, lease = settings.home(), settings.lease_name
        # On connections of its own: what leads may have many requests on their way.
        electing = await stack.enter_async_context(Kube.connect(contact))
        leader = Leader(
            electing, Candidacy(identity, settings.lease_seconds), contact, namespace=namespace, name=lease
        )

        async def ready() -> None:
            leader.check_contact()
            sync.check()

        async def lead() -> None:
            guarded = kube.guarded(leader.check)
            term = Term(
                settings,
                guarded,
                connect=lambda: _connect(settings),
                sync=sync,
                contact=contact,
                liveness=watch.liveness,
            )
            await term.run()

        await stack.enter_async_context(serving_probes(listener, ready, watch))
        host, port = listener.getsockname()[:2]
        logger.info("operator %s; health on http://%s:%d, Lease %s/%s", identity, host, port, namespace, lease)
        await leader.run(lead, stop, watch.liveness.expect("the election", silence=ELECTION_SILENCE))


async def _connect(settings: OperatorSettings) -> Bus:
    return await connect(
        pulsar_url=settings.pulsar_url,
        pulsar_token=settings.pulsar_token.get_secret_value(),
        pulsar_admin_url=settings.pulsar_admin_url,
        bus_url=settings.bus_url.get_secret_value(),
    )
