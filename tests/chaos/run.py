"""One run: tasks and mishaps side by side, then a while for what is left, then the books."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bus.topics import FOLD_SUBSCRIPTION, model_subscription, model_topic
from tests.chaos.books import Comparison, compare, repeated
from tests.chaos.clients import Submissions
from tests.chaos.graphs import plan
from tests.chaos.outcome import OPEN, OUTBOX, check, count, ledger_of
from tests.chaos.schedule import Mishap, schedule
from tests.chaos.site import ChaosSite, chaos_site

# How often each kind of part is hit, beside the others.
WEIGHTS = {"coordinator": 3.0, "worker": 2.0, "postgres": 1.0, "broker": 1.0}
LOOK_SECONDS = 0.5
# After the last mishap: for what waits for a lease, and for each task.
END_SECONDS, TASK_SECONDS = 120.0, 0.1


@dataclass(frozen=True)
class Options:
    """`seconds`: how long things go wrong. `victims`: the kinds of parts that it happens to."""

    seconds: float
    seed: int
    tasks: int
    bus: str
    victims: tuple[str, ...] = tuple(WEIGHTS)

    @property
    def command(self) -> str:
        """Runs the same again."""
        return shlex.join(
            [
                *("python", "-m", "tests.chaos", "--minutes", f"{self.seconds / 60:g}", "--seed", str(self.seed)),
                *("--tasks", str(self.tasks), "--bus", self.bus, "--victims", *self.victims),
            ]
        )


@dataclass
class Report:
    """What came of it. `errors`: none, or the run has failed."""

    mishaps: Counter[str]
    ends: Counter[str]
    gave_up: Counter[str]
    resubmitted: int
    repeated: int
    books: Comparison
    errors: list[str]


async def chaos(options: Options, say: Callable[[str], None]) -> Report:
    """`say`: told of the progress, in lines. After an error data and logs stay."""
    directory = Path(tempfile.mkdtemp(prefix="agentos-chaos-"))
    say(f"data and logs: {directory}")
    async with chaos_site(options.bus, options.seed, directory) as site:
        say(f"{len(site.parts)} parts are up")
        report = await _run(options, site, say)
    if not report.errors:
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
    return report


async def _run(options: Options, site: ChaosSite, say: Callable[[str], None]) -> Report:
    planned = [plan(options.seed, number, site.fleet.model) for number in range(options.tasks)]
    kinds = {name: name.split("-")[0] for name in site.parts}
    victims = {name: WEIGHTS[kind] for name, kind in kinds.items() if kind in options.victims}
    happened: Counter[str] = Counter()
    mishaps = schedule(options.seed, options.seconds, victims)
    clients = Submissions(planned, options.seed, options.seconds, site.urls)
    async with _kept(site), asyncio.TaskGroup() as group:
        group.create_task(clients.run())
        for mishap in mishaps:
            group.create_task(_happen(site, mishap, happened, say))
    errors = list(clients.errors)
    async with _kept(site):
        patience = END_SECONDS + TASK_SECONDS * options.tasks
        if not await _wait(lambda: _all_ended(site), patience, "tasks to end", say):
            errors.append(f"not every task has ended within {patience:g} s")
        elif not await _wait(lambda: _at_rest(site), END_SECONDS, "the fleet to come to rest", say):
            errors.append("something is still under way, although every task has ended")
        ends, wrong = await check(site.database_url, planned, clients.taken)
        ledger = await ledger_of(site.database_url)
        lives = {life.key: life for worker in site.workers for life in worker.lives}
        outages = [outage for part in site.parts.values() for outage in part.outages]
        books = compare(ledger, await site.book(), lives, outages)
    made_again = repeated(ledger)
    if made_again and options.victims == ("coordinator",):
        errors.append(f"{made_again} calls were made again although only coordinators were killed or stopped")
    return Report(
        mishaps=happened,
        ends=ends,
        gave_up=Counter(words for part in (*site.coordinators, *site.workers) for words in part.gave_up),
        resubmitted=clients.repeats,
        repeated=made_again,
        books=books,
        errors=errors + wrong + books.errors,
    )


@asynccontextmanager
async def _kept(site: ChaosSite) -> AsyncIterator[None]:
    """Whatever ends by itself is started again."""
    keeping = [asyncio.create_task(part.keep()) for part in (*site.coordinators, *site.workers)]
    try:
        yield
    finally:
        for task in keeping:
            task.cancel()
        for end in await asyncio.gather(*keeping, return_exceptions=True):
            if not isinstance(end, asyncio.CancelledError):
                raise AssertionError("a keeper has ended") from end


async def _happen(site: ChaosSite, mishap: Mishap, happened: Counter[str], say: Callable[[str], None]) -> None:
    await asyncio.sleep(mishap.at)
    part = site.parts[mishap.victim]
    if part.spared:
        return
    say(f"{mishap.at:6.1f} s: {mishap.kind} {mishap.victim}, {mishap.seconds:.1f} s")
    happened[f"{mishap.kind} {mishap.victim.split('-')[0]}"] += 1
    await part.suffer(mishap)


async def _wait(
    condition: Callable[[], Awaitable[str]], seconds: float, what: str, say: Callable[[str], None]
) -> bool:
    """Whether `condition` says "" within that time; else it says what is missing."""
    deadline, last = time.monotonic() + seconds, ""
    while missing := await condition():
        if missing != last:
            say(f"waiting for {what}: {missing}")
            last = missing
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(LOOK_SECONDS)
    return True


async def _all_ended(site: ChaosSite) -> str:
    count_open = await count(site.database_url, OPEN)
    if count_open is None:
        return "the store is away"
    return f"{count_open} are open" if count_open else ""


async def _at_rest(site: ChaosSite) -> str:
    """Nothing is in the outbox, on the bus, or at the provider."""
    outbox = await count(site.database_url, OUTBOX)
    waiting: dict[str, object] = {"outbox": "away" if outbox is None else outbox}
    bus = await site.fleet.bus()
    try:
        for topic, subscription in (
            (model_topic(site.fleet.model), model_subscription(site.fleet.model)),
            (site.fleet.result_topic, FOLD_SUBSCRIPTION),
        ):
            backlog = await bus.backlog(topic, subscription)
            waiting[subscription] = backlog.ready + backlog.delayed + backlog.in_flight
    finally:
        await bus.close()
    waiting["calls"] = sum(entry.fate == "running" for entry in await site.book())
    return ", ".join(f"{what}: {number}" for what, number in waiting.items() if number)
