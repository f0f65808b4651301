"""What `agentos up` tells while it works: on standard error, as a moving line where that is a terminal."""

from __future__ import annotations

from rich.console import Console


class Progress:
    """Steps come and go; what is said stays."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
        self._status = self._console.status("") if self._console.is_terminal else None

    @property
    def moves(self) -> bool:
        """It is a moving line, which may change as often as it likes."""
        return self._status is not None

    def step(self, text: str) -> None:
        """What is being done now."""
        if self._status is None:
            self.say(text)
            return
        self._status.update(text)
        self._status.start()

    def done(self) -> None:
        """The last step is over."""
        if self._status is not None:
            self._status.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text)
