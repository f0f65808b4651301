"""Whether the API server answers, and whether this operator is ready."""

from __future__ import annotations

from collections.abc import Callable

from core.cluster import ClusterError
from core.liveness import Beat

# An API server that is away is no reason to be restarted, but after so long something may be wrong with this process.
AWAY_SECONDS = 600.0


class Contact:
    """With the API server."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._away_since: float | None = None

    def answered(self) -> None:
        """It serves."""
        self._away_since = None

    def silent(self) -> None:
        """It did not answer, or only that it cannot serve."""
        if self._away_since is None:
            self._away_since = self._clock()

    def away(self) -> float:
        """For how many seconds it has not served."""
        return 0.0 if self._away_since is None else self._clock() - self._away_since

    def beat(self, beat: Beat) -> None:
        """A turn was made: that is progress, also while the API server is away, up to a limit."""
        if self.away() < AWAY_SECONDS:
            beat.beat()


class Sync:
    """When everything was listed last; `None` where this process does not lead."""

    def __init__(self, clock: Callable[[], float], every: float) -> None:
        self._clock = clock
        self._allowed = 3 * every + 30.0
        self._leads = False
        self._at: float | None = None
        self._why = ""

    def begins(self) -> None:
        """This process leads from now on, and knows nothing yet."""
        self._leads, self._at, self._why = True, None, "nothing was listed yet"

    def ends(self) -> None:
        """It leads no more."""
        self._leads = False

    def done(self) -> None:
        """Everything was listed."""
        self._at, self._why = self._clock(), ""

    def failed(self, why: str) -> None:
        """It was not."""
        self._why = why

    def check(self) -> None:
        """Raises `ClusterError` where this process leads and does not know how things are."""
        if not self._leads:
            return
        if self._at is None:
            raise ClusterError(self._why, again=True)
        if (age := self._clock() - self._at) > self._allowed:
            raise ClusterError(f"everything was listed {age:.0f} s ago: {self._why}", again=True)
