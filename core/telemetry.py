"""Where spans go: to a collector, where OpenTelemetry's own variables name one."""

from __future__ import annotations

import os
from collections.abc import Mapping

from core.errors import ConfigurationError
from core.spans import NO_TRACING, Tracing

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


def tracing(service: str, environ: Mapping[str, str] = os.environ) -> Tracing:
    """Traces of this process, named `service` unless OTEL_SERVICE_NAME says otherwise.

    https://opentelemetry.io/docs/specs/otel/protocol/exporter names the variables. Raises `ConfigurationError`.
    """
    off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER") == "none"
    if off or not any(environ.get(name) for name in _ENDPOINTS):
        return NO_TRACING
    for name in _PROTOCOLS:
        if environ.get(name, "http/protobuf") != "http/protobuf":
            raise ConfigurationError(f"{name}: only http/protobuf is spoken here")
    # Imported here: it takes a third of a second, and most processes have no collector.
    from core.otlp import OtlpTracing

    return OtlpTracing(service)
