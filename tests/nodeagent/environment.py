"""The command and the environment of a container's process."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.nodeagent.settings import Image
from tests.nodeagent.sources import Kind, NotYet, Sources, not_supported
from tests.nodeagent.spec import Container, EnvFrom, EnvVar, KeyRef
from tests.nodeagent.volumes import Mounts

_REFERENCE = re.compile(r"\$\$|\$\(([^)]+)\)")


class Command(NamedTuple):
    """A process that can be started."""

    argv: list[str]
    environment: dict[str, str]
    directory: Path


async def command_of(
    container: Container, image: Image, sources: Sources, mounts: Mounts, *, own: Mapping[str, str], home: Path
) -> Command:
    """What the container runs. `own`: what the agent tells every container; it may be named in the image's values.

    Raises `NotYet`.
    """
    override = {name: expanded(value, own) for name, value in image.override.items()}
    asked = await variables(container, sources, override)
    environment = {
        **await sources.links(),
        **{name: value for name, value in own.items() if not name.startswith("POD_")},
        **{name: expanded(value, own) for name, value in image.environment.items()},
        **{name: mounts.real(value) for name, value in asked.items()},
        **override,
    }
    entrypoint = container.command or image.entrypoint
    arguments = container.args or ([] if container.command else image.arguments)
    argv = [mounts.real(expanded(each, asked)) for each in entrypoint] if container.command else list(entrypoint)
    argv += [mounts.real(expanded(each, asked)) for each in arguments]
    if not argv:
        raise NotYet("CreateContainerError", "neither the image nor the container has a command")
    directory = container.working_dir and mounts.real(container.working_dir)
    return Command(argv, environment, Path(directory or expanded(image.directory, own) or home))


async def variables(container: Container, sources: Sources, override: Mapping[str, str]) -> dict[str, str]:
    """Those that the Pod asks for: envFrom first, then env, where each may name those before it."""
    found: dict[str, str] = {}
    for group in container.env_from:
        found |= await _all_keys(group, sources)
    for variable in container.env:
        value = await _value(variable, sources, found)
        if value is not None:
            found[variable.name] = override.get(variable.name, value)
    return found


def expanded(text: str, known: Mapping[str, str]) -> str:
    """$(NAME) replaced where it is known, as the API describes it for `command`, `args` and `env`; $$ is $."""

    def replaced(match: re.Match[str]) -> str:
        return "$" if match[0] == "$$" else known.get(match[1], match[0])

    return _REFERENCE.sub(replaced, text)


async def _all_keys(group: EnvFrom, sources: Sources) -> dict[str, str]:
    found: dict[str, str] = {}
    for kind, ref in _refs(group.secret_ref, group.config_map_ref):
        data = await sources.data(kind, ref.name, optional=ref.optional)
        found |= {group.prefix + key: value.decode() for key, value in (data or {}).items()}
    return found


async def _value(variable: EnvVar, sources: Sources, known: Mapping[str, str]) -> str | None:
    if variable.value_from is None:
        return expanded(variable.value, known)
    if variable.value_from.field_ref is not None:
        return sources.field(variable.value_from.field_ref.field_path)
    for kind, ref in _refs(variable.value_from.secret_key_ref, variable.value_from.config_map_key_ref):
        return await _key(kind, ref, sources)
    raise not_supported(f"such a source of {variable.name}")


async def _key(kind: Kind, ref: KeyRef, sources: Sources) -> str | None:
    data = await sources.data(kind, ref.name, optional=ref.optional)
    if data is not None and ref.key in data:
        return data[ref.key].decode()
    if ref.optional:
        return None
    raise NotYet("CreateContainerConfigError", f"{kind} {ref.name} has no key {ref.key}")


def _refs(secret: KeyRef | None, config_map: KeyRef | None) -> list[tuple[Kind, KeyRef]]:
    found: list[tuple[Kind, KeyRef]] = []
    if secret is not None:
        found.append(("secrets", secret))
    if config_map is not None:
        found.append(("configmaps", config_map))
    return found
