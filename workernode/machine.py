"""What the kernel says of memory and CPU: of the container, where it has limits, else of the machine."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import psutil

from workernode.resources import Machine

CGROUPS = Path("/sys/fs/cgroup")
PRESSURE = Path("/proc/pressure/memory")


@dataclass(frozen=True, slots=True)
class _Names:
    """Where a cgroup tells its memory: https://docs.kernel.org/admin-guide/cgroup-v2.html, and cgroup-v1/memory."""

    limit: str
    used: str
    cache: str  # in memory.stat: what the kernel can drop


_VERSION_2 = _Names("memory.max", "memory.current", "inactive_file")
_VERSION_1 = _Names("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def read_machine(pid: int | str = "self") -> Machine:
    """A reading now. Where there are no cgroups (no Linux) or no pressure is told, it is the whole machine's."""
    whole = psutil.virtual_memory()
    left, limit = int(whole.available), int(whole.total)
    for directory, names in _cgroups(pid):
        if (own := _limited(directory, names)) is not None and own[0] < left:
            left, limit = own
    own_pressure = [directory / "memory.pressure" for directory, names in _cgroups(pid) if names is _VERSION_2]
    stalled = next((each for file in [*own_pressure, PRESSURE] if (each := _stalled(file)) is not None), None)
    return Machine(left, limit, stalled, os.getloadavg()[0] / (os.cpu_count() or 1))


def cpus() -> float:
    """CPUs that this process may use: its affinity, and its container's quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = (_text(CGROUPS / "cpu.max") or "max").partition(" ")
    if quota.isdecimal() and period.isdecimal():
        return min(float(allowed), int(quota) / int(period))
    return float(allowed)


def _cgroups(pid: int | str) -> list[tuple[Path, _Names]]:
    """A process's cgroup and its parents' (a container sees its own as the root), which limit it too."""
    found: list[tuple[Path, _Names]] = []
    for line in (_text(Path(f"/proc/{pid}/cgroup")) or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        root, names = (CGROUPS, _VERSION_2) if not controllers else (CGROUPS / "memory", _VERSION_1)
        place = root / path.lstrip("/")
        found += [(each, names) for each in (place, *place.parents) if each == root or root in each.parents]
    return found


def _limited(directory: Path, names: _Names) -> tuple[int, int] | None:
    limit, used = _text(directory / names.limit), _text(directory / names.used)
    if limit is None or used is None or not limit.isdecimal():  # "max": no limit
        return None
    cache = re.search(rf"^{names.cache} (\d+)$", _text(directory / "memory.stat") or "", re.MULTILINE)
    return max(0, int(limit) - int(used) + (int(cache[1]) if cache else 0)), int(limit)


def _stalled(file: Path) -> float | None:
    found = re.search(r"^full avg10=([\d.]+)", _text(file) or "", re.MULTILINE)
    return float(found[1]) if found else None


def _text(file: Path) -> str | None:
    try:
        return file.read_text().strip()
    except OSError:  # no such file: not Linux, another version of cgroups, not ours to read
        return None
