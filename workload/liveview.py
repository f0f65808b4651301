"""How a load goes, for a person: a view on a terminal, else a line from time to time. On standard error."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from workload.pipeline_report import FATES
from workload.snapshot import Snapshot

# Where it is no terminal.
LINE_SECONDS = 5.0


class LiveView:
    """`title`: what the load is."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        self._told = 0.0

    def __call__(self, now: Snapshot) -> None:
        """Shows it."""
        if self._live is not None:
            self._live.update(_view(self._title, now), refresh=True)
        elif now.seconds >= self._told + LINE_SECONDS:
            self._told = now.seconds
            self._console.print(line(now))

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()


def line(now: Snapshot) -> str:
    """The whole in a line."""
    latency = f", latency p50 {now.latency.p50:.3f} s, p99 {now.latency.p99:.3f} s" if now.latency else ""
    return (
        f"{now.seconds:.0f} s: {now.offered:,} offered ({now.offered_per_second:.1f}/s), {now.open:,} open, "
        f"{_ended(now)}, goodput {_percent(now.goodput)} of late, {_percent(now.goodput_so_far)} in all{latency}"
    )


def _view(title: str, now: Snapshot) -> Group:
    figures = Table.grid(padding=(0, 3))
    late = now.latency
    figures.add_row("offered", f"{now.offered:,}", f"{now.offered_per_second:.1f}/s", f"{now.open:,} open")
    figures.add_row("goodput", _percent(now.goodput_so_far), f"{_percent(now.goodput)} of late")
    if late is not None:
        figures.add_row("latency", f"p50 {late.p50:.3f} s", f"p90 {late.p90:.3f} s", f"p99 {late.p99:.3f} s")
    head = Text(f"{title}   {now.seconds:.0f} s", style="bold")
    parts = (head, Text(_ended(now)), figures)
    return Group(*parts, _stages(now)) if now.stages else Group(*parts)


def _stages(now: Snapshot) -> Table:
    table = Table("stage", box=None, padding=(0, 3, 0, 0))
    for title in ("waiting", "outstanding", "batch", "workers", "rate", "dropped"):
        table.add_column(title, justify="right")
    for name, stage in now.stages.items():
        rate = "-" if stage.rate is None else f"{stage.rate:.1f}/s"
        counts = (stage.waiting, stage.outstanding, stage.batch_size, stage.workers)
        table.add_row(name, *(f"{count:,}" for count in counts), rate, f"{stage.dropped:,}")
    return table


def _ended(now: Snapshot) -> str:
    return (
        ", ".join(f"{now.ended[end]:,} {end.replace('_', ' ')}" for end in FATES if end in now.ended) or "none ended"
    )


def _percent(part: float | None) -> str:
    return "-" if part is None else f"{part:.1%}"
