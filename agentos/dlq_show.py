"""What `agentos dlq` prints, and how its commands run."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from typing import TypeVar

import typer

from agentos.dlq import Letter, Summary, Tell, Work, box_of, drop, look, replay, summaries
from agentos.on_bus import on_bus
from agentos.printing import print_json, print_table, time_text
from agentos.progress import Progress
from agentos.up_settings import UpSettings
from bus.port import Bus
from core.errors import ConfigurationError

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
# Without a terminal the progress is a line so often.
TELL_SECONDS = 1.0

Result = TypeVar("Result")


def run_list(settings: UpSettings, *, as_json: bool) -> int:
    """Returns the exit code, as all do. Raises `BusError`."""
    found = _on_bus(settings, summaries)
    if as_json:
        print_json([asdict(each) for each in found])
    elif found:
        print_table(("NAME", "LETTERS", "OLDEST"), map(_summary_row, found))
    else:
        typer.echo("no dead letters")
    return 0


def run_show(settings: UpSettings, name: str, *, limit: int, body: bool, as_json: bool) -> int:
    """`body`: prompts are private, so they are shown where asked for only."""
    letters = _on_bus(settings, lambda bus: look(bus, box_of(name), limit))
    if as_json:
        print_json([_letter_json(letter, body=body) for letter in letters])
    elif not letters:
        typer.echo(f"no dead letters of {name}")
    elif body:
        for letter in letters:
            typer.echo("  ".join(_letter_row(letter)))
            typer.echo(letter.body.decode(errors="replace"))
    else:
        print_table(("ID", "TIME", "ATTEMPTS", "CRASHES", "BYTES", "REASON"), map(_letter_row, letters))
    return 0


def run_replay(settings: UpSettings, name: str, ids: Sequence[str], *, everything: bool) -> int:
    """At least once: a letter is published again before it leaves the dead letters."""
    chosen = _chosen(ids, everything=everything)
    return _work(settings, "replayed", lambda bus, tell: replay(bus, box_of(name), chosen, tell))


def run_drop(settings: UpSettings, name: str, ids: Sequence[str], *, everything: bool, yes: bool) -> int:
    """Asks first, where somebody can answer."""
    chosen = _chosen(ids, everything=everything)
    which = f"all dead letters of {name}" if chosen is None else f"{len(chosen)} dead letters of {name}"
    if not yes:
        if not sys.stdin.isatty():
            raise ConfigurationError("dropping cannot be undone: say --yes where nobody can be asked")
        typer.confirm(f"Drop {which} for good?", abort=True)
    return _work(settings, "dropped", lambda bus, tell: drop(bus, box_of(name), chosen, tell))


def _chosen(ids: Sequence[str], *, everything: bool) -> set[str] | None:
    if everything == bool(ids):
        raise ConfigurationError("name the letters by their ids (`agentos dlq show`), or say --all")
    return None if everything else set(ids)


def _work(settings: UpSettings, what: str, work: Callable[[Bus, Tell], Awaitable[Work]]) -> int:
    progress = Progress()
    said = 0.0
    so_far = 0

    def tell(done: int, total: int) -> None:
        nonlocal said, so_far
        so_far = done
        if time.monotonic() - said >= TELL_SECONDS:
            said = time.monotonic()
            progress.step(f"{what} {done} of {total}")

    try:
        done, missing = _on_bus(settings, lambda bus: work(bus, tell))
    except KeyboardInterrupt:
        typer.echo(f"interrupted: {what} {so_far}; the others are where they were", err=True)
        return EXIT_INTERRUPTED
    finally:
        progress.done()
    typer.echo(f"{what} {done}")
    if missing:
        typer.echo(f"not found: {', '.join(missing)}", err=True)
    return EXIT_FAILED if missing else 0


def _on_bus(settings: UpSettings, action: Callable[[Bus], Awaitable[Result]]) -> Result:
    async def run() -> Result:
        async with on_bus(settings) as bus:
            return await action(bus)

    return asyncio.run(run())


def _summary_row(summary: Summary) -> tuple[str, ...]:
    return summary.name, str(summary.count), time_text(summary.oldest)


def _letter_row(letter: Letter) -> tuple[str, ...]:
    counts = ("-" if count is None else str(count) for count in (letter.attempts, letter.crashes))
    return letter.id, time_text(letter.time), *counts, str(letter.size), " ".join(letter.reason.split())


def _letter_json(letter: Letter, *, body: bool) -> dict[str, object]:
    shown = asdict(letter)
    del shown["body"]
    return shown | ({"body": letter.body.decode(errors="replace")} if body else {})
