"""The rate limits of a key: how many messages may be taken, and how long a call must wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from workernode.limits.headers import standing
from workernode.limits.pace import Pace

# Where nothing limits: more than any node can hold.
PLENTY = 1_000_000
# Seconds before its time that a message may be taken: it is at hand when its time comes.
AT_HAND = 0.25
# Until the first answer tells the limits: so many calls, twice as many with every second.
FIRST_CALLS = 4
# Refused without a hint: seconds of the first and of the longest pause.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
# Seconds between two answers that are listened to: of a thousand a second, one in twenty tells as much as all.
HEAR_EVERY = 0.02
# Tokens of a request before one was seen.
USUAL_TOKENS = 500.0


class RateLimits:
    """Requests and tokens a minute of one key, as far as they are this replica's.

    Limits come from settings, from the provider's headers, or from both: then the lower one counts. Without any,
    nothing is held back, but for the first calls and after a refusal. `now`: monotonic seconds. `uniform`:
    `random.uniform`, or a test's own.
    """

    def __init__(
        self,
        requests_per_minute: float | None,
        tokens_per_minute: float | None,
        uniform: Callable[[float, float], float],
    ) -> None:
        self._requests = Pace(requests_per_minute)
        self._tokens = Pace(tokens_per_minute)
        self._uniform = uniform
        self._mean_tokens = USUAL_TOKENS
        self._heard = requests_per_minute is not None
        self._hear_from = 0.0
        self._began: float | None = None
        self._calls = 0
        self._paused_until = 0.0
        self._refusals = 0

    def admissible(self, now: float) -> int:
        """How many more messages may be taken now."""
        if now + AT_HAND < self._paused_until:
            return 0
        requests = self._requests.admits(now, 1.0, AT_HAND)
        tokens = self._tokens.admits(now, self._mean_tokens, AT_HAND)
        return min(each for each in (requests, tokens, self._first_calls(now)) if each is not None)

    def wait(self, now: float) -> float:
        """Seconds until one more message may be taken; 0 if it may be now."""
        first = AT_HAND if self._first_calls(now) < 1 else 0.0
        return max(first, self._until_free(now) - AT_HAND)

    def reserve(self, now: float, tokens: float) -> float:
        """Reserves one request of so many tokens; returns the seconds that its call must wait."""
        if self._began is None:
            self._began = now
        self._calls += 1
        self._mean_tokens += (max(1.0, tokens) - self._mean_tokens) / 10
        wait = self._until_free(now)
        self._requests.spend(now, 1.0)
        self._tokens.spend(now, tokens)
        return wait

    def paused(self, now: float) -> float:
        """Seconds for which the provider has asked that no call be made."""
        return max(0.0, self._paused_until - now)

    def settle(self, now: float, reserved: float, actual: float) -> None:
        """Corrects a reservation by what the call has used: 0 if it was refused or never made."""
        self._tokens.correct(now, actual - reserved)
        if actual and now >= self._paused_until:
            self._refusals = 0

    def heard(self, now: float, headers: Mapping[str, str], reserved: float) -> None:
        """Learns from the headers of any answer, a refusal too. `reserved`: the tokens of its call.

        `headers`: names in lower case, or a mapping that ignores case.
        """
        if now < self._hear_from:
            return
        self._heard, self._hear_from = True, now + HEAR_EVERY
        if (requests := standing(headers, "requests")) is not None:
            self._requests.heard(now, requests, 1.0)
        if (tokens := standing(headers, "tokens")) is not None:
            self._tokens.heard(now, tokens, reserved)

    def refused(self, now: float, retry_after: float | None) -> None:
        """A refusal that will pass: nothing is taken, and no call begins, until then.

        Without a hint the pause doubles with every refusal that comes after a pause.
        """
        if now >= self._paused_until:
            self._refusals += 1
        if retry_after is None:
            longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._refusals - 1, 16))
            pause = self._uniform(longest / 2, longest)
        else:
            pause = retry_after + self._uniform(0, min(1.0, retry_after / 10))
        self._paused_until = max(self._paused_until, now + pause)
        for pace in (self._requests, self._tokens):
            pace.refused(now)

    def share(self, fraction: float) -> None:
        """This replica's part of the limits, above 0 and at most 1 (see `shares`)."""
        for pace in (self._requests, self._tokens):
            pace.share(fraction)

    def used(self, now: float) -> float:
        """The part of the key's limits that this replica has used of late: the greater one of both."""
        return max(self._requests.used(now), self._tokens.used(now))

    def held_back(self, now: float) -> bool:
        """Whether this replica would have used more than its part."""
        return self._requests.held_back(now) or self._tokens.held_back(now)

    def _until_free(self, now: float) -> float:
        return max(0.0, self._paused_until - now, self._requests.wait(now), self._tokens.wait(now))

    def _first_calls(self, now: float) -> int:
        if self._heard:
            return PLENTY
        elapsed = 0.0 if self._began is None else now - self._began
        return min(PLENTY, int(FIRST_CALLS * 2.0 ** min(elapsed, 20.0))) - self._calls
