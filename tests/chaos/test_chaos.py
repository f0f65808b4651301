"""A short run of chaos on each bus. Longer ones: `python -m tests.chaos --minutes M --seed S`."""

from __future__ import annotations

import pytest

from tests.chaos.__main__ import describe, say
from tests.chaos.run import Options, chaos

pytestmark = [pytest.mark.kills, pytest.mark.timeout(400), pytest.mark.xdist_group("chaos")]

SECONDS, TASKS = 20.0, 60


@pytest.mark.parametrize(
    "bus",
    [pytest.param("postgres", marks=pytest.mark.long), pytest.param("pulsar", marks=pytest.mark.pulsar)],
)
async def test_every_task_ends_as_it_should_and_the_books_agree(bus: str, request: pytest.FixtureRequest) -> None:
    if bus == "pulsar":
        request.getfixturevalue("pulsar_home")
    await runs(Options(SECONDS, seed=5, tasks=TASKS, bus=bus))


async def test_no_call_is_made_again_because_its_coordinator_died() -> None:
    await runs(Options(SECONDS, seed=6, tasks=TASKS, bus="postgres", victims=("coordinator",)))


async def runs(options: Options) -> None:
    report = await chaos(options, say)
    say(describe(report))
    assert not report.errors, options.command
    # Otherwise the run has shown nothing.
    assert report.mishaps.total() > 3
    assert report.books.calls > TASKS
