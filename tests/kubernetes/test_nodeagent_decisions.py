"""What the tests' node agent decides without a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.nodeagent.environment import expanded
from tests.nodeagent.probes import Streak
from tests.nodeagent.settings import Image, Settings
from tests.nodeagent.spec import Mount, Probe
from tests.nodeagent.status import Life, conditions, phase
from tests.nodeagent.volumes import Mounts


@pytest.mark.parametrize(
    ("text", "real"),
    [
        ("/data", "/real/d"),
        ("/data/file", "/real/d/file"),
        ("/database", "/database"),
        ("/old/data", "/old/data"),
        ("/data/deep/file", "/real/e/file"),
        ("--file=/data/x", "--file=/real/d/x"),
        ("/data:/data/deep:/x", "/real/d:/real/e:/x"),
        ("file:///data/x", "file:///real/d/x"),
        ("http://data/x", "http://data/x"),
        ("echo x >> /data/file; cat '/data/file'", "echo x >> /real/d/file; cat '/real/d/file'"),
    ],
)
def test_mount_paths_are_found_where_they_begin(text: str, real: str) -> None:
    mounts = [Mount(name="d", mount_path="/data/"), Mount(name="e", mount_path="/data/deep")]
    assert Mounts(mounts, Path("/real")).real(text) == real


def test_without_mounts_nothing_is_replaced() -> None:
    assert Mounts([], Path("/real")).real("/data") == "/data"


def test_only_known_names_are_expanded() -> None:
    assert expanded("$(A) $(B) $$(A) $A", {"A": "1"}) == "1 $(B) $(A) $A"


@pytest.mark.parametrize(
    "reference", ["tiny", "tiny:1", "tiny@sha256:0", "host:5000/x/tiny:1", "host:5000/x/tiny:1@sha256:0"]
)
def test_an_image_is_known_by_its_name(reference: str) -> None:
    image = Image(arguments=["x"])
    settings = Settings(
        server="", ca="", token="", node="", directory="", images={"tiny": image}, first_address="127.0.1.1"
    )
    assert settings.image(reference) == image
    assert settings.image(f"other{reference}") == (image if "/" in reference else None)
    assert settings.image("other/big:1") is None


def test_a_probe_turns_only_by_enough_results_in_a_row() -> None:
    streak = Streak(Probe(success_threshold=2, failure_threshold=3))
    results = [True, True, False, False, True, False, False, False]
    assert [streak.add(each) for each in results] == [False, True, False, False, False, False, False, True]


def life(*events: int | str) -> Life:
    """A container to which this happened: "run", exit codes, "wait"."""
    made = Life("main", "tiny")
    for event in events:
        if event == "run":
            made.runs(0)
        elif event == "wait":
            made.waits("CrashLoopBackOff")
        elif isinstance(event, int):
            made.ends(event, 0, 1)
    return made


@pytest.mark.parametrize(
    ("first", "lives", "over", "wanted"),
    [
        ([], [life()], False, "Pending"),
        ([life("run")], [life()], False, "Pending"),
        ([life("run", 0)], [life()], False, "Pending"),
        ([life("run", 0)], [life("run")], False, "Running"),
        ([], [life("run"), life()], False, "Pending"),
        ([], [life("run", 1, "wait")], False, "Running"),
        ([], [life("run", 0)], True, "Succeeded"),
        ([], [life("run", 0), life("run", 1)], True, "Failed"),
        ([life("run", 1)], [life()], True, "Failed"),
    ],
)
def test_the_phase_is_that_of_all_containers(first: list[Life], lives: list[Life], over: bool, wanted: str) -> None:
    assert phase(first, lives, over=over) == wanted


def test_restarts_are_counted_and_the_last_end_is_kept() -> None:
    restarted = life("run", 3, "wait", "run")
    assert (restarted.restarts, restarted.last["terminated"]["exitCode"], restarted.code) == (1, 3, None)


def test_a_pod_is_ready_when_all_of_it_is() -> None:
    good, bad = life("run"), life("run")
    good.ready = True
    assert [holds for _, holds, _ in conditions([life("run", 0)], [good, bad])] == [True, True, False, False]
    assert [holds for _, holds, _ in conditions([], [good])] == [True] * 4
    assert conditions([], [life("run", 0)])[-1] == ("Ready", False, "PodCompleted")
