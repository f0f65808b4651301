"""The settings of all parts, whose names may stand in one file and in one environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from agentos.up_settings import UpSettings
from coordinator.operator.settings import OperatorSettings
from coordinator.settings import CoordinatorSettings
from core.settings import Settings, load
from workernode.settings import WorkerSettings
from workload.settings import ClientSettings

ALL_SETTINGS = (WorkerSettings, CoordinatorSettings, OperatorSettings, UpSettings, ClientSettings)

SettingsClass = TypeVar("SettingsClass", bound=Settings)


def settings_of(cls: type[SettingsClass], config: Path | None, **overrides: Any) -> SettingsClass:
    """Settings from options, environment and file. Raises `ConfigurationError`."""
    return load(cls, file=config, also_known=ALL_SETTINGS, **overrides)
