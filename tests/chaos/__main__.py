"""`python -m tests.chaos --minutes M --seed S`: a fleet at work while its parts are killed and stopped.

Exit code 0: every task has ended as it should, and every difference between the books has a reason.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys

from tests.chaos.run import WEIGHTS, Options, Report, chaos

SHOWN_ERRORS = 30


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long things go wrong")
    parser.add_argument("--seed", type=int, default=None, help="decides what happens, when, and to which graphs")
    parser.add_argument("--tasks", type=int, default=5_000)
    parser.add_argument("--bus", choices=["postgres", "pulsar"], default="pulsar")
    parser.add_argument("--victims", nargs="+", choices=list(WEIGHTS), default=list(WEIGHTS), metavar="KIND")
    arguments = parser.parse_args()
    seed = random.randrange(2**32) if arguments.seed is None else arguments.seed
    options = Options(arguments.minutes * 60, seed, arguments.tasks, arguments.bus, tuple(arguments.victims))
    say(options.command)
    report = asyncio.run(chaos(options, say))
    say(describe(report))
    if report.errors:
        say(f"FAILED: {options.command}")
    return 1 if report.errors else 0


def say(line: str) -> None:
    """A line of the report."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def describe(report: Report) -> str:
    """For a person."""
    books = report.books
    lines = [
        f"mishaps: {_counts(report.mishaps)}",
        f"ended by themselves and started again: {report.gave_up.total()}",
        *(f"  {count} times: {words}" for words, count in report.gave_up.items()),
        f"tasks: {_counts(report.ends)}; submitted once more with the same key: {report.resubmitted}",
        f"ledger {books.ledger}, provider {books.calls}, difference {books.calls - books.ledger}:",
        *(f"  {count} {reason}" for reason, count in books.explained.items()),
        f"  {len(books.errors)} without a reason",
        f"answered calls that were made again: {report.repeated}",
        *(f"ERROR: {error}" for error in report.errors[:SHOWN_ERRORS]),
    ]
    if len(report.errors) > SHOWN_ERRORS:
        lines.append(f"and {len(report.errors) - SHOWN_ERRORS} more")
    return "\n".join(lines)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items())) or "none"


if __name__ == "__main__":
    sys.exit(main())
