"""The figures of a running load for Prometheus."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from core.errors import ConfigurationError
from workload.scalars import scalars
from workload.snapshot import Snapshot

_HELP = "Of a load that runs now (docs/workloads.md)."


@contextlib.contextmanager
def exposition(port: int, host: str = "127.0.0.1") -> Iterator[tuple[int, Callable[[Snapshot], None]]]:
    """Serves the last snapshot until the block ends; the port (0: any free one), and what takes snapshots.

    Raises `ConfigurationError` where the port is taken.
    """
    last = _Last()
    registry = CollectorRegistry()
    registry.register(last)
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise ConfigurationError(f"--metrics-port {port}: {error.strerror}") from None
    try:
        yield server.server_port, last.take
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Last(Collector):
    """Asked from threads of the server's."""

    def __init__(self) -> None:
        self._snapshot: Snapshot | None = None

    def take(self, now: Snapshot) -> None:
        self._snapshot = now

    def collect(self) -> Iterable[Metric]:
        if (now := self._snapshot) is None:
            return
        offered = CounterMetricFamily("agentos_load_offered", "Requests sent.")
        offered.add_metric((), now.offered)
        ended = CounterMetricFamily("agentos_load_ended", "Requests that have ended, by how.", labels=("how",))
        for how, count in now.ended.items():
            ended.add_metric((how,), count)
        yield offered
        yield ended
        yield from _gauges(now)


def _gauges(now: Snapshot) -> Iterable[Metric]:
    gauges: dict[str, GaugeMetricFamily] = {}
    for name, value, stage in scalars(now):
        labels = {"stage": stage} if stage else {}
        gauge = gauges.setdefault(name, GaugeMetricFamily(f"agentos_load_{name}", _HELP, labels=tuple(labels)))
        gauge.add_metric(tuple(labels.values()), value)
    return gauges.values()
