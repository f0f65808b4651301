"""Starts a WorkerNode: the health server, the backend, the bus, the node, in this order, and ends them in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from bus.connect import connect
from core import http, log
from core.errors import AgentOSError, BusUnavailable, ConfigurationError
from core.loopwatch import LoopWatch
from core.probes import serving_probes
from core.run import Stop, flatten, run
from core.telemetry import tracing
from workernode.backends import make_backend
from workernode.management import report_failed_start
from workernode.node import Node
from workernode.settings import WorkerSettings

logger = logging.getLogger(__name__)


def main(settings: WorkerSettings) -> int:
    """Runs until a signal; returns the exit code."""
    log.set_up(debug=settings.debug)
    return run(lambda stop: worker(settings, stop))


def cannot_start(error: ConfigurationError) -> None:
    """Tells management that the settings are wrong, as far as they say where management is."""
    asyncio.run(report_failed_start(None, error))


async def worker(settings: WorkerSettings, stop: Stop) -> None:
    """A worker's whole life. Raises an `AgentOSError` if it cannot start or cannot go on; management hears why."""
    try:
        await _live(settings, stop)
    except* AgentOSError as group:
        await report_failed_start(settings, flatten(group)[0])
        raise


async def _live(settings: WorkerSettings, stop: Stop) -> None:
    async with contextlib.AsyncExitStack() as stack:
        watch = stack.enter_context(LoopWatch())
        node: Node | None = None

        async def ready() -> None:
            if node is None or not node.taking:
                raise BusUnavailable("the worker does not take messages yet, or no longer")
            node.check()
            await backend.check()
            await bus.check()

        listener = http.listen(settings.host, settings.port)
        # From the beginning: a model may take minutes to load.
        await stack.enter_async_context(serving_probes(listener, ready, watch))
        backend = make_backend(settings)
        stack.push_async_callback(backend.close)
        await backend.start()
        bus = await connect(
            pulsar_url=settings.pulsar_url,
            pulsar_token=settings.pulsar_token.get_secret_value(),
            pulsar_admin_url=settings.pulsar_admin_url,
            bus_url=settings.bus_url,
        )
        stack.push_async_callback(bus.close)
        traces = tracing("agentos-worker")
        stack.push_async_callback(traces.close)
        node = Node(settings, bus, backend, watch, traces)
        host, port = listener.getsockname()[:2]
        logger.info("worker %s serves %s (%s)", node.name, settings.model_name, settings.node_type)
        logger.info("health and metrics on http://%s:%d", host, port)
        await node.run(stop)
