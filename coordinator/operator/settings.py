"""Settings of the operator."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator

from bus.topics import RESULT_TOPIC
from core.cluster import SERVICE_ACCOUNT
from core.settings import Settings, known_as


class OperatorSettings(Settings):
    """One process of the operator. Its workers' Pods get the same broker and the same topic of results."""

    pulsar_url: str = known_as("PULSAR_URL", default="", description="Broker, pulsar://host:6650.")
    pulsar_token: SecretStr = known_as("PULSAR_TOKEN", default=SecretStr(""), description="Token for the broker.")
    pulsar_admin_url: str = known_as("PULSAR_ADMIN_URL", default="", description="Broker's admin, http://host:8080.")
    bus_url: SecretStr = Field(
        default=SecretStr(""), description="Postgres bus, instead of PULSAR_URL: postgresql://…"
    )
    res_topic_name: str = known_as("RES_TOPIC_NAME", default=RESULT_TOPIC, description="Topic of results.")
    worker_image: str = Field(min_length=1, description="Image of workers whose AIModel names none.")
    operator_namespaces: str = Field(
        default="", description="Namespaces that are looked after, separated by commas; empty: all."
    )
    resync_seconds: float = Field(
        default=60, ge=1, description="How often everything is listed, in case that a watch has missed something."
    )
    lease_name: str = Field(default="agentos-operator", min_length=1, description="The Lease by which one leads.")
    lease_namespace: str = Field(default="", description="Its namespace; empty: the Pod's own.")
    lease_seconds: float = Field(
        default=15, ge=3, description="How long a leader that is not heard of keeps the others from leading."
    )
    host: str = Field(default="127.0.0.1", description="Address that health and metrics are served on.")
    port: int = known_as("PORT", default=8083, ge=0, le=65535, description="Port of health and metrics; 0: any.")
    debug: bool = known_as("DEBUG", default=False, description="Debug logs.")

    @model_validator(mode="after")
    def _one_bus(self) -> Self:
        if bool(self.pulsar_url) == bool(self.bus_url.get_secret_value()):
            raise ValueError("set one of PULSAR_URL (pulsar://host:6650) and AGENTOS_BUS_URL (postgresql://…)")
        return self

    def namespaces(self) -> list[str]:
        """Those that are looked after; empty: all."""
        return [name for each in self.operator_namespaces.split(",") if (name := each.strip())]

    def home(self, account: Path = SERVICE_ACCOUNT) -> str:
        """The namespace of the Lease."""
        file = account / "namespace"
        return self.lease_namespace or (file.read_text().strip() if file.exists() else "default")
