"""Fair parts for users, by virtual token counters (Sheng et al., "Fairness in Serving Large Language Models")."""

from __future__ import annotations

import heapq
import itertools

# Entries of the heap that are no longer true, beyond as many as there are true ones, before it is made anew.
STALE = 64


class _Account:
    """What a user has had, divided by its weight. `ticket`: of its entry in the heap, while it waits."""

    __slots__ = ("counter", "ticket", "weight")

    def __init__(self) -> None:
        self.counter = 0.0
        self.weight = 1.0
        self.ticket: int | None = None


class FairShares:
    """The users of one line. Who has had least, for its weight, is next.

    Charge what a call should cost when it leaves, and the difference, which may be negative, when its cost is known:
    a user that is charged only afterwards would have every slot until then. Two users that both wait all the time
    differ in what they have had, divided by their weights, by at most the dearest charge.

    A user that waits for nothing saves nothing up: it comes back at the counter of the least of those who wait, if
    its own is below; where nobody waits, at the counter of the last who did. Ties: who has waited longer.
    """

    def __init__(self) -> None:
        self._accounts: dict[int, _Account] = {}
        self._heap: list[tuple[float, int, int]] = []
        self._tickets = itertools.count()
        self._waiting = 0
        self._last = 0.0

    @property
    def counters(self) -> dict[int, float]:
        """What each user has had, divided by its weight, and with what it missed while it was away."""
        return {user: account.counter for user, account in self._accounts.items()}

    def weight(self, user: int, weight: float) -> None:
        """From now on the user's part is `weight`, above 0, beside the others'; 1 if it is never said."""
        self._account(user).weight = weight

    def charge(self, user: int, tokens: float) -> None:
        """The user has had so much, or so much less than was charged."""
        account = self._account(user)
        account.counter += tokens / account.weight
        if account.ticket is not None:
            self._enter(user, account)

    def arrive(self, user: int) -> None:
        """The user waits, from now on."""
        account = self._account(user)
        least = self.least()
        account.counter = max(account.counter, self._last if least is None else self._accounts[least].counter)
        self._waiting += account.ticket is None
        self._enter(user, account)

    def leave(self, user: int) -> None:
        """The user waits for nothing more."""
        account = self._account(user)
        self._waiting -= account.ticket is not None
        account.ticket = None
        self._last = account.counter

    def least(self) -> int | None:
        """Who is next of those who wait."""
        while self._heap and not self._true(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][2] if self._heap else None

    def _account(self, user: int) -> _Account:
        return self._accounts.get(user) or self._accounts.setdefault(user, _Account())

    def _enter(self, user: int, account: _Account) -> None:
        account.ticket = next(self._tickets)
        heapq.heappush(self._heap, (account.counter, account.ticket, user))
        if len(self._heap) > 2 * self._waiting + STALE:
            self._heap = [entry for entry in self._heap if self._true(entry)]
            heapq.heapify(self._heap)

    def _true(self, entry: tuple[float, int, int]) -> bool:
        return self._accounts[entry[2]].ticket == entry[1]
