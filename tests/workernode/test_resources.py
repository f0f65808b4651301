from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from workernode import machine
from workernode.machine import cpus, read_machine
from workernode.modelwatch import model_of
from workernode.resources import RISE_SECONDS, Capacity, Machine, Model, Resources
from workernode.slotsearch import FRESH_SECONDS, SAMPLES, SETTLED_SECONDS, SlotSearch

GIBI = 1 << 30
WELL = Machine(memory_left=3 * GIBI, memory_limit=4 * GIBI, stalled=0.0, load=1.0)
SHORT = dataclasses.replace(WELL, memory_left=GIBI // 5)


def test_a_machine_that_is_well_gives_every_slot() -> None:
    assert Resources(8).update(0, WELL, None) == Capacity(8)


@pytest.mark.parametrize(
    ("changes", "slots", "reason"),
    [
        ({"memory_left": GIBI // 5}, 4, "memory: 204 of 4096 MiB are left"),
        ({"memory_left": GIBI // 50}, 1, "memory: 20 of 4096 MiB are left"),
        ({"stalled": 8.0}, 4, "memory: 8 % of the time is lost waiting for it"),
        ({"stalled": 60.0}, 1, "memory: 60 % of the time is lost waiting for it"),
        ({"stalled": None}, 8, ""),
        ({"load": 9.5}, 4, "CPU: 9.5 processes want each one"),
        ({"memory_limit": 0}, 8, ""),
    ],
)
def test_what_is_short_takes_slots_and_says_why(changes: dict[str, float], slots: int, reason: str) -> None:
    machine = dataclasses.replace(WELL, **changes)  # type: ignore[arg-type]
    assert Resources(8).update(0, machine, None) == Capacity(slots, reason)


def test_slots_come_back_one_by_one_and_the_last_slot_stays() -> None:
    resources = Resources(3)
    assert resources.update(0, SHORT, None).slots == 1
    assert resources.update(1, SHORT, None).slots == 1
    back = [resources.update(1 + second, WELL, None).slots for second in range(1, 12)]
    assert back == [1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3]
    assert resources.update(13 + RISE_SECONDS, WELL, None) == Capacity(3)


def test_the_same_shortage_is_one_capacity_whatever_its_figures() -> None:
    resources = Resources(8)
    first = resources.update(0, SHORT, None)
    assert resources.update(1, dataclasses.replace(SHORT, memory_left=SHORT.memory_left - 999_999), None) is first


def test_a_context_that_fills_up_is_left_to_those_that_run() -> None:
    resources = Resources(4)
    assert resources.update(0, WELL, Model(2, None, 3000, 4096)).slots == 4
    full = resources.update(1, WELL, Model(2, None, 3100, 4096))
    assert full == Capacity(2, "context: 3100 of 4096 tokens are in use")
    assert resources.update(2, WELL, Model(0, None, 4000, 4096)).slots == 1
    assert resources.update(3, WELL, Model(1, None, 100, 4096)).slots == 4


def climb(search: SlotSearch, rate: Callable[[int], float], *, seconds: int, start: float = 0) -> list[int]:
    """The slots at each second while all are busy, on a model that gives `rate(slots)` tokens a second."""
    decodes, seen = 0.0, []
    for second in range(seconds):
        slots = search.slots
        decodes += rate(slots) / slots
        seen.append(search.update(start + second, slots, round(decodes)))
    return seen


def test_slots_stay_where_more_of_them_give_more_tokens() -> None:
    seen = climb(SlotSearch(4), lambda slots: 1000.0 * slots, seconds=1200)
    assert set(seen) == {3, 4}
    assert seen.count(3) / len(seen) < 0.03  # what trying fewer costs


def test_fewer_slots_where_more_give_fewer_tokens() -> None:
    seen = climb(
        SlotSearch(8), lambda slots: {8: 400.0, 7: 500, 6: 600, 5: 800, 4: 900, 3: 700}.get(slots, 1), seconds=900
    )
    assert seen[0] == 8
    assert seen[-1] == 4 or seen[-100:].count(4) > 80


def test_a_model_that_gives_the_same_with_any_number_keeps_most_slots() -> None:
    seen = climb(SlotSearch(4), lambda _: 1000.0, seconds=600)
    assert seen.count(4) / len(seen) > 0.95


def test_what_was_too_many_is_tried_again_when_the_machine_may_be_another() -> None:
    search = SlotSearch(2)
    climb(search, lambda slots: {2: 100.0, 1: 1000.0}[slots], seconds=int(SETTLED_SECONDS) + 2 * SAMPLES + 20)
    assert search.slots == 1
    later = climb(search, lambda slots: 1000.0 * slots, seconds=int(FRESH_SECONDS) + 4 * SAMPLES, start=1000)
    assert later[-1] == 2


def test_times_in_which_slots_are_free_say_nothing() -> None:
    search = SlotSearch(4)
    for second in range(500):
        assert search.update(second, 3, 1000 if second % 2 else 999_999) == 4


SLOTS = b"""[{"id":0,"n_ctx":4096,"is_processing":true,"n_prompt_tokens":231},
{"id":1,"n_ctx":4096,"is_processing":false,"n_prompt_tokens":99}]"""


@pytest.mark.parametrize(
    ("slots", "metrics", "model"),
    [
        (SLOTS, b"# HELP x\nllamacpp:n_decode_total 209\nllamacpp:other 1", Model(1, 209, 231, 4096)),
        (SLOTS, b"", Model(1, None, 231, 4096)),
        (b'[{"id":0}]', b"", Model(0, None, 0, None)),
        (b"", b"llamacpp:n_decode_total 209", None),
        (b'{"error":{}}', b"", None),
        (b"[1]", b"", None),
    ],
)
def test_what_the_server_tells_is_read_and_what_it_does_not_is_unknown(
    slots: bytes, metrics: bytes, model: Model | None
) -> None:
    assert model_of(slots, metrics) == model


def test_this_machine_tells_of_itself() -> None:
    reading = read_machine()
    assert 0 < reading.memory_left <= reading.memory_limit
    assert reading.load >= 0
    assert 0 < cpus() <= (os.cpu_count() or 1)


def write(directory: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


STAT_2 = "anon 5\ninactive_file 1048576\nactive_file 7\n"


@pytest.mark.skipif(sys.platform != "linux", reason="cgroups are Linux's")
def test_a_containers_limit_and_pressure_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files as cgroup v2 has them in a container with a limit of 64 MiB and half a CPU."""
    write(
        tmp_path,
        {
            "memory.max": f"{64 << 20}\n",
            "memory.current": f"{60 << 20}\n",
            "memory.stat": STAT_2,
            "memory.pressure": "some avg10=9.00 avg60=1.00 total=1\nfull avg10=7.25 avg60=1.00 total=1\n",
            "cpu.max": "50000 100000\n",
        },
    )
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    monkeypatch.setattr(machine, "_cgroups", lambda _: [(tmp_path, machine._VERSION_2)])
    reading = read_machine()
    assert (reading.memory_left, reading.memory_limit, reading.stalled) == (5 << 20, 64 << 20, 7.25)
    assert cpus() == 0.5
    assert Resources(4).update(0, reading, None) == Capacity(2, "memory: 5 of 64 MiB are left")


HOLD = "import sys; kept = b'x' * (int(sys.argv[1]) << 20); print('held', flush=True); sys.stdin.read()"


@pytest.fixture
def own_cgroup() -> Iterator[Path]:
    """A memory cgroup of the test's own, where this machine lets us make one."""
    version_2 = (machine.CGROUPS / "cgroup.controllers").exists()
    directory = (machine.CGROUPS if version_2 else machine.CGROUPS / "memory") / f"agentos-test-{os.getpid()}"
    limit = directory / ("memory.max" if version_2 else "memory.limit_in_bytes")
    try:
        directory.mkdir()
        limit.write_text(str(256 << 20))
    except OSError:
        pytest.skip("no right to make a cgroup here")
    yield directory
    directory.rmdir()


@pytest.mark.skipif(sys.platform != "linux", reason="cgroups are Linux's")
def test_memory_pressure_within_a_real_cgroup_takes_slots(own_cgroup: Path) -> None:
    into = f'echo $$ > {own_cgroup}/cgroup.procs && exec {sys.executable} -c "{HOLD}" 236'
    resources = Resources(4)
    with subprocess.Popen(["sh", "-c", into], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        under = resources.update(0, read_machine(holder.pid), None)
        assert holder.stdin is not None
        holder.stdin.close()
    assert under.slots <= 2
    assert under.reason.startswith("memory: ")
    assert "of 256 MiB" in under.reason
