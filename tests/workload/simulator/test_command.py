"""`agentos simulate`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
ONE = ROOT / "examples" / "pipelines" / "one.yaml"


def agentos(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "agentos", "simulate", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)


def simulated(*arguments: object) -> dict[str, Any]:
    done = agentos(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_same_seed_prints_the_same() -> None:
    options = ("--pipeline", ONE, "--rate", 20, "--seconds", 30, "--jitter", 0.1, "--users", "3,1")
    first, again, other = (simulated(*options, "--seed", seed) for seed in (1, 1, 2))
    assert first == again != other
    assert first["setting"]["plans"]["detect"]["workers"] > 1
    assert first["figures"]["offered"] == sum(user["offered"] for user in first["figures"]["users"])


def test_a_load_in_parts_of_the_capacity() -> None:
    options = ("--pipeline", ONE, "--policy", "pard", "--load", 0.5, "--requests", 2000, "--workers", "detect=2")
    found = simulated(*options, "--arrivals", "gamma", "--burstiness", 1)
    assert found["setting"]["rate"] == pytest.approx(found["setting"]["capacity"] / 2, rel=0.1)
    assert found["figures"]["policy"] == "pard"
    assert found["figures"]["offered"] == 2000
    assert found["figures"]["goodput"] > 0.99


def test_a_trace_under_the_planner_is_told_and_drawn(tmp_path: Path) -> None:
    trace, picture = tmp_path / "trace.csv", tmp_path / "picture.svg"
    trace.write_text("arrived_at\n" + "".join(f"{number / 10}\n" for number in range(300)))
    done = agentos("--pipeline", ONE, "--trace", trace, "--planner", "--plot", picture)
    assert done.returncode == 0, done.stderr
    assert "offered 10/s" in done.stdout
    assert "goodput 100.00% of 300" in done.stdout
    assert "events/s" in done.stderr
    assert "<svg" in picture.read_text()


def test_more_than_the_workers_can_do_is_told() -> None:
    done = agentos("--pipeline", ONE, "--rate", 500, "--requests", 500)
    assert done.returncode == 0, done.stderr
    assert "no plan fits: within 0.8 s the most workers sustain" in done.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--rate", "1", "--load", "1"], "--rate or --load"),
        (["--rate", "-1"], "more than 0"),
        (["--policy", "best"], "none of none, lazy"),
        (["--workers", "detect"], "STAGE=N"),
        (["--workers", "other=1"], "no stage 'other'"),
        (["--users", "1,x"], "--users"),
        (["--arrivals", "never"], "neither poisson nor gamma"),
        (["--trace", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(options: list[str], says: str) -> None:
    done = agentos("--pipeline", ONE, "--requests", 10, *options)
    assert done.returncode == 2
    assert says in done.stderr
