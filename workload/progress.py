"""A bar that shows on a terminal how far something has come."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class Bar:
    """On standard error, where that is a terminal; else it shows nothing."""

    def __init__(self, title: str) -> None:
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self.visible = console.is_terminal
        self._progress = Progress(*columns, TextColumn("{task.fields[note]}"), console=console, transient=True)
        self._bar = self._progress.add_task(title, total=None, note="", visible=self.visible)

    def show(self, done: int, total: int, note: str = "") -> None:
        """How many of how many."""
        if self.visible:
            self._progress.update(self._bar, completed=done, total=total, note=note)

    def __enter__(self) -> Self:
        if self.visible:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.visible:
            self._progress.stop()
