"""Typed settings from the environment and from a TOML file; unknown names are refused with the nearest known one.

A field is named as in the file (`bus_url`); in the environment it is `AGENTOS_BUS_URL`, or the name that users of
the earlier system know where the field declares one (`PULSAR_URL`). The environment wins over the file.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from core.errors import ConfigurationError

PREFIX = "AGENTOS_"
CONFIG_FILE = "AGENTOS_CONFIG"
# Set by AgentOS for its own processes, not by people (see agentos.processes).
INTERNAL_NAMES = frozenset({CONFIG_FILE, "AGENTOS_RUN", "AGENTOS_HOME"})


class Settings(BaseModel):
    """The base of every settings class. Secrets print as set or unset, never as themselves."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @classmethod
    def variables(cls) -> dict[str, str]:
        """Environment variable → field."""
        named: dict[str, str] = {}
        for name, field in cls.model_fields.items():
            extra = field.json_schema_extra
            named[str(extra["env"]) if isinstance(extra, dict) else PREFIX + name.upper()] = name
        return named

    def describe(self) -> dict[str, str]:
        """For logs: every field, secrets as `set` or `unset`."""
        shown = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            secret = isinstance(value, SecretStr)
            shown[name] = ("set" if value.get_secret_value() else "unset") if secret else str(value)
        return shown


def known_as(env: str, **options: Any) -> Any:
    """A field with a variable name of its own, kept for users of the earlier system."""
    return Field(json_schema_extra={"env": env}, **options)


SettingsClass = TypeVar("SettingsClass", bound=Settings)


def load(
    cls: type[SettingsClass],
    *,
    environ: Mapping[str, str] | None = None,
    file: Path | None = None,
    also_known: Iterable[type[Settings]] = (),
    **overrides: Any,
) -> SettingsClass:
    """Reads `cls` from a file (`file`, else the one AGENTOS_CONFIG names), then the environment, then `overrides`.

    `also_known`: settings of other parts, whose names may stand in the same file and environment. Empty variables
    count as unset, as in the Pods of the earlier operator. Raises `ConfigurationError`.
    """
    environ = os.environ if environ is None else environ
    if file is None and environ.get(CONFIG_FILE):
        file = Path(environ[CONFIG_FILE])
    classes: list[type[Settings]] = [cls, *also_known]
    values = _from_file(file, cls, {name for each in classes for name in each.model_fields}) if file else {}
    values |= _from_environment(environ, cls, {name for each in classes for name in each.variables()})
    values |= {name: value for name, value in overrides.items() if value is not None}
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        names = {field: variable for variable, field in cls.variables().items()}
        problems = "; ".join(_problem(names, dict(each)) for each in error.errors(include_input=False))
        raise ConfigurationError(problems) from None


def _problem(names: Mapping[str, str], error: Mapping[str, Any]) -> str:
    field = str(error["loc"][0]) if error["loc"] else ""
    place = names.get(field, field)
    message = "is missing" if error["type"] == "missing" else error["msg"]
    return f"{place}: {message}" if place else message.removeprefix("Value error, ")


def _from_environment(environ: Mapping[str, str], cls: type[Settings], known: set[str]) -> dict[str, Any]:
    for name in environ:
        if name.startswith(PREFIX) and name not in known | INTERNAL_NAMES:
            raise ConfigurationError(f"unknown variable {name}{_nearest(name, known)}")
    return {field: environ[name] for name, field in cls.variables().items() if environ.get(name)}


def _from_file(file: Path, cls: type[Settings], known: set[str]) -> dict[str, Any]:
    try:
        values = tomllib.loads(file.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"settings file {file}: {error}") from error
    for name in values:
        if name not in known:
            raise ConfigurationError(f"settings file {file}: unknown name {name}{_nearest(name, known)}")
    return {name: value for name, value in values.items() if name in cls.model_fields}


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""
