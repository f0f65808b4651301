"""Settings of a coordinator: gateway, relay and fold in one process."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from bus.topics import RESULT_TOPIC
from coordinator.tasks.prices import prices_of
from core.settings import Settings, known_as
from policy.order import Order


class CoordinatorSettings(Settings):
    """One process of the coordinator."""

    database_url: SecretStr = Field(description="Store: postgresql://user:password@host/database.")
    pulsar_url: str = known_as("PULSAR_URL", default="", description="Broker, pulsar://host:6650.")
    pulsar_token: SecretStr = known_as("PULSAR_TOKEN", default=SecretStr(""), description="Token for the broker.")
    pulsar_admin_url: str = known_as("PULSAR_ADMIN_URL", default="", description="Broker's admin, http://host:8080.")
    bus_url: str = Field(default="", description="Postgres bus, instead of PULSAR_URL: postgresql://…")
    res_topic_name: str = known_as("RES_TOPIC_NAME", default=RESULT_TOPIC, description="Topic of results.")
    debug: bool = known_as("DEBUG", default=False, description="Debug logs.")
    host: str = Field(default="127.0.0.1", description="Address of the gateway.")
    port: int = known_as("PORT", default=8081, ge=0, le=65535, description="Port of the gateway; 0: any.")
    request_timeout_seconds: float = Field(default=600, gt=0, description="Longest wait for an answer.")
    max_body_bytes: int = Field(default=32 << 20, ge=1024, description="Largest request body.")
    max_task_nodes: int = Field(default=100_000, ge=1, description="Most nodes of a task graph.")
    region: str = Field(default="default", min_length=1, description="Tasks go to other regions last.")
    dispatch_order: Order = Field(
        default="srtf", description="Which task of a user goes first: fcfs, srtf (least remaining work), deadline."
    )
    planner: Literal["on", "off"] = Field(
        default="on",
        description="Plans batches and workers of pipelines, and orders them; off: they stay as they are.",
    )
    prices: str = Field(
        default="",
        description='Models\' prices, for budgets: {"model": [prompt, completion]}, dollars for a million tokens.',
    )
    grace_seconds: float = Field(default=30, ge=0, description="Time to answer open requests after SIGTERM.")

    @model_validator(mode="after")
    def _one_bus(self) -> Self:
        if bool(self.pulsar_url) == bool(self.bus_url):
            raise ValueError("set one of PULSAR_URL (pulsar://host:6650) and AGENTOS_BUS_URL (postgresql://…)")
        prices_of(self.prices)  # raises ConfigurationError
        return self
