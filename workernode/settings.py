"""Settings of a WorkerNode."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, SecretStr, model_validator

from bus.messages import BatchOrder
from bus.topics import RESULT_TOPIC
from core.settings import Settings, known_as
from policy.slo.pipeline import PolicyName
from workernode.batching.table import LARGEST, read_table
from workernode.endpoint_policy import EndpointPolicy


class WorkerSettings(Settings):
    """One process, one model, one backend."""

    node_type: Literal["mock", "remote", "local"] = known_as("NODE_TYPE", description="Kind of backend.")
    model_name: str = known_as("MODEL_NAME", min_length=1, description="Model served: the topic is model-<name>.")
    api_url: str = known_as("API_URL", default="", description="Remote: base address, with or without /v1.")
    api_key: SecretStr = known_as("API_KEY", default=SecretStr(""), description="Remote: key for API_URL.")
    max_process_num: int = known_as(
        "MAX_PROCESS_NUM", default=128, ge=1, description="Requests handled at once (slots)."
    )
    pulsar_url: str = known_as("PULSAR_URL", default="", description="Broker, pulsar://host:6650.")
    pulsar_token: SecretStr = known_as("PULSAR_TOKEN", default=SecretStr(""), description="Token for the broker.")
    pulsar_admin_url: str = known_as("PULSAR_ADMIN_URL", default="", description="Broker's admin, http://host:8080.")
    bus_url: str = Field(default="", description="Postgres bus, instead of PULSAR_URL: postgresql://…")
    res_topic_name: str = known_as("RES_TOPIC_NAME", default=RESULT_TOPIC, description="Topic of results.")
    debug: bool = known_as("DEBUG", default=False, description="Debug logs.")
    aimodel_name: str = known_as("AIMODEL_NAME", default="", description="Name of the AIModel in Kubernetes.")
    aimodel_namespace: str = known_as("AIMODEL_NAMESPACE", default="", description="Its namespace.")
    node_name: str = Field(default="", description="What the worker calls itself, as its Pod; empty: as its host.")
    host: str = Field(default="127.0.0.1", description="Address that health and metrics are served on.")
    port: int = known_as("PORT", default=8082, ge=0, le=65535, description="Port of health and metrics; 0: any.")
    model_file: str = Field(default="", description="Local: a GGUF file or a llamafile.")
    model_threads: int = Field(default=0, ge=0, description="Local: threads that compute; 0: one less than CPUs.")
    model_pooling: Literal["", "model", "mean", "cls", "last"] = Field(
        default="",
        description="Local: serve embeddings as well, a text's tokens pooled so; model: as its file says; empty: no.",
    )
    requests_per_minute: float = Field(
        default=0, ge=0, description="Remote: limit of API_KEY, for all workers on it together; 0: as the API tells."
    )
    tokens_per_minute: float = Field(
        default=0, ge=0, description="Remote: limit of API_KEY, for all workers on it together; 0: as the API tells."
    )
    prefetch: int = Field(default=1, ge=1, description="Messages the broker may send ahead; for fast backends.")
    max_attempts: int = Field(default=5, ge=1, description="Deliveries before a request is failed for good.")
    max_crashes: int = Field(
        default=3, ge=1, description="Workers that a request may take down before it is put among the dead letters."
    )
    grace_seconds: float = Field(default=30, ge=0, description="Time to finish calls after SIGTERM.")
    call_timeout_seconds: float = Field(default=600, gt=0, description="Longest call.")
    idle_timeout_seconds: float = Field(default=120, gt=0, description="Longest silence of an upstream.")
    endpoint_allow: str = Field(
        default="", description="Endpoints replied to: names with *, addresses, networks, host:port; empty: all."
    )
    mock_text: str = Field(default="This is a fixed answer from the mock backend.", description="Mock: the answer.")
    mock_delay_seconds: float = Field(default=0, ge=0, description="Mock: time to the first token.")
    mock_tokens_per_second: float = Field(default=0, ge=0, description="Mock: speed of the answer; 0: at once.")
    mock_failures: str = Field(
        default="", description="Mock: statuses to answer in turn, for ever, as 200,429,500,hang,drop."
    )
    mock_batch_seconds: str = Field(
        default="",
        description="Mock: serves one batch after another, each taking so long by its size: 1:0.069,2:0.117,4:0.209.",
    )
    batch_size: int = Field(
        default=1, ge=1, le=LARGEST, description="Requests served together at most; 1: no batches, until told so."
    )
    batch_policy: PolicyName = Field(
        default="agentos", description="How batches are formed and what is dropped: none, lazy, nexus, pard, agentos."
    )
    batch_seconds: str = Field(
        default="", description="What a batch takes by its size, as 1:0.069,2:0.117; what is missing is learned."
    )

    def identity(self, node: str) -> dict[str, Any]:
        """Who tells, in every event of the worker `node`."""
        return {
            "model": self.model_name,
            "ai_model_name": self.aimodel_name or None,
            "ai_model_namespace": self.aimodel_namespace or None,
            "node": node,
            "node_type": self.node_type,
        }

    def batch_order(self) -> BatchOrder:
        """How to batch until somebody orders otherwise."""
        return BatchOrder(
            size=self.batch_size,
            policy=self.batch_policy,
            seconds=read_table(self.batch_seconds, "AGENTOS_BATCH_SECONDS"),
        )

    @model_validator(mode="after")
    def _has_broker(self) -> Self:
        if bool(self.pulsar_url) == bool(self.bus_url):
            raise ValueError("set one of PULSAR_URL (pulsar://host:6650) and AGENTOS_BUS_URL (postgresql://…)")
        return self

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.node_type == "remote" and not self.api_url:
            raise ValueError("API_URL: is missing; NODE_TYPE=remote needs the address of an OpenAI-compatible API")
        if self.node_type == "local" and not (self.model_file or self.api_url):
            raise ValueError("AGENTOS_MODEL_FILE: is missing; NODE_TYPE=local needs a GGUF file or a llamafile")
        EndpointPolicy(self.endpoint_allow)  # raises ConfigurationError, as the next do
        self.batch_order()
        read_table(self.mock_batch_seconds, "AGENTOS_MOCK_BATCH_SECONDS")
        return self
