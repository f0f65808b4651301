"""The bus on Apache Pulsar."""

from bus.pulsar.bus import PulsarBus

__all__ = ["PulsarBus"]
