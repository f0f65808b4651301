"""Fair parts for users, by virtual token counters (Sheng et al., "Fairness in Serving Large Language Models")."""

from __future__ import annotations

import heapq
import itertools
import math

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
    differ in what they have got meanwhile, divided by their weights, by less than two of the dearest calls.

    A user that waits for nothing saves nothing up: it comes back at the counter of the least of those who wait, or
    at that of the last who was served, if its own is below. (The paper has the first alone. Then users who come
    without end, each for one call, are before everybody who has had a call already, for ever.)
    Ties: who has waited longer.
    """

    def __init__(self) -> None:
        self._accounts: dict[int, _Account] = {}
        self._heap: list[tuple[float, int, int]] = []
        self._tickets = itertools.count()
        self._waiting = 0
        self._level = 0.0
        self._taken: int | None = None

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
        if user == self._taken:
            self._level, self._taken = account.counter, None
        if account.ticket is not None:
            self._enter(user, account)

    def arrive(self, user: int) -> None:
        """The user waits, from now on."""
        account, least = self._account(user), self._least()
        account.counter = max(account.counter, self._level, -math.inf if least is None else least[0])
        self._waiting += account.ticket is None
        self._enter(user, account)

    def leave(self, user: int) -> None:
        """The user waits for nothing more."""
        account = self._account(user)
        self._waiting -= account.ticket is not None
        account.ticket = None

    def take(self) -> int | None:
        """Who is next of those who wait. The first that it is charged with then is what it takes now."""
        least = self._least()
        self._taken = None if least is None else least[2]
        return self._taken

    def _least(self) -> tuple[float, int, int] | None:
        while self._heap and not self._true(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0] if self._heap else None

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
