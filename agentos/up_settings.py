"""Settings of `agentos up`."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs
from pydantic import Field, SecretStr

from core.settings import Settings, known_as


class UpSettings(Settings):
    """Everything on one machine. Other AGENTOS_ variables reach the processes that know them."""

    host: str = Field(default="127.0.0.1", description="Address of the gateway.")
    port: int = known_as("PORT", default=8081, ge=0, le=65535, description="Port of the gateway; 0: any free one.")
    pulsar: bool = Field(default=False, description="Apache Pulsar instead of the embedded bus.")
    pulsar_url: str = known_as("PULSAR_URL", default="", description="A running broker, pulsar://host:6650.")
    pulsar_token: SecretStr = known_as("PULSAR_TOKEN", default=SecretStr(""), description="Token for the broker.")
    pulsar_admin_url: str = known_as("PULSAR_ADMIN_URL", default="", description="Broker's admin, http://host:8080.")
    database_url: SecretStr = Field(default=SecretStr(""), description="A running Postgres; else the embedded one.")
    bus_url: SecretStr = Field(
        default=SecretStr(""), description="The workers' own address of the bus in `database_url`."
    )
    model_file: str = Field(default="", description="A GGUF file or a llamafile for the local worker.")
    mock: bool = Field(default=True, description="Start the mock worker.")
    local: bool = Field(default=True, description="Start the local worker.")
    pipelines: str = Field(default="", description="Files of pipelines to serve, separated by commas.")
    state_dir: Path | None = known_as("AGENTOS_HOME", default=None, description="Where data, logs and locks are.")
    debug: bool = known_as("DEBUG", default=False, description="Debug logs.")


def pipeline_files(settings: UpSettings) -> list[Path]:
    """Those that are to be served."""
    return [Path(each.strip()) for each in settings.pipelines.split(",") if each.strip()]


def state_directory(settings: UpSettings) -> Path:
    """The state directory: as set, else this system's place for a user's data."""
    if settings.state_dir is not None:
        return settings.state_dir.expanduser().resolve()
    # Root's embedded Postgres runs as another user, which must be able to reach its data.
    return Path("/var/lib/agentos") if os.geteuid() == 0 else Path(platformdirs.user_data_dir("agentos"))
