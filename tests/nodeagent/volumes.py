"""Volumes are directories under the Pod's own. Their mount paths do not exist: who names one gets the directory."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tests.nodeagent.sources import Kind, NotYet, Sources, not_supported
from tests.nodeagent.spec import Files, Mount, Source, Volume

# A whole path: at the beginning, or after what comes before a path in arguments, lists and file:// addresses.
_PATH = r"""(?:(?<![^=:,;\s"'])|(?<=file://))(?:{})(?=$|[/:,;\s"'])"""


async def make_volumes(volumes: Iterable[Volume], sources: Sources, directory: Path) -> None:
    """Fills a directory for each. May be called again after `NotYet`."""
    for volume in volumes:
        place = directory / volume.name
        if place.exists():
            continue
        files = {} if volume.empty_dir is not None else await _files_of_all(volume, sources)
        _write(place, files)


async def _files_of_all(volume: Volume, sources: Sources) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for each in volume.projected.sources if volume.projected is not None else [volume]:
        files |= await _files(each, sources, volume.name)
    return files


async def _files(source: Source, sources: Sources, name: str) -> dict[str, bytes]:
    if source.secret is not None:
        return await _keys("secrets", source.secret, sources)
    if source.config_map is not None:
        return await _keys("configmaps", source.config_map, sources)
    if (wanted := source.service_account_token) is not None:
        token = await sources.token(wanted.audience, wanted.expiration_seconds)
        return {wanted.path: token.encode()}
    if source.downward_api is not None:
        return {each.path: sources.field(each.field_ref.field_path).encode() for each in source.downward_api.items}
    raise not_supported(f"kind of volume as {name} is")


async def _keys(kind: Kind, files: Files, sources: Sources) -> dict[str, bytes]:
    name = files.secret_name or files.name
    data = await sources.data(kind, name, optional=files.optional)
    if data is None or files.items is None:
        return data or {}
    if lost := [item.key for item in files.items if item.key not in data and not files.optional]:
        raise NotYet("ContainerCreating", f"{kind} {name} has no key {', '.join(lost)}")
    return {item.path: data[item.key] for item in files.items if item.key in data}


def _write(place: Path, files: Mapping[str, bytes]) -> None:
    """Whole or not at all."""
    unfinished = place.with_name(place.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for name, content in files.items():
        file = unfinished / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_bytes(content)
    unfinished.rename(place)


class Mounts:
    """Where a container's mount paths are on this machine."""

    def __init__(self, mounts: Sequence[Mount], volumes: Path) -> None:
        self._places = {each.mount_path.rstrip("/"): volumes / each.name / each.sub_path for each in mounts}
        longest_first = sorted(self._places, key=len, reverse=True)
        self._pattern = re.compile(_PATH.format("|".join(map(re.escape, longest_first)))) if mounts else None

    def path(self, mount_path: str) -> Path | None:
        """The directory that is mounted there, if one is."""
        return self._places.get(mount_path)

    def real(self, text: str) -> str:
        """The text, with each path that begins with a mount path replaced by the one on this machine."""
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda found: str(self._places[found[0]]), text)
