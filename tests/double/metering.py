"""A provider's limits as it enforces them: pure, so that a simulation can use them without a server."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Enforcement = Literal["bucket", "window"]


@dataclass
class Meter:
    """One limit of one key: `limit` units in `window` seconds.

    A bucket holds `limit` units and refills steadily. A window starts anew every `window` seconds of the clock,
    whoever uses it.
    """

    limit: float
    window: float
    enforcement: Enforcement
    _left: float = field(init=False)
    _at: float = field(init=False, default=float("-inf"))

    def __post_init__(self) -> None:
        self._left = self.limit

    def left(self, now: float) -> float:
        """Units that may be used now."""
        if self.enforcement == "bucket":
            refilled = (now - self._at) * self.limit / self.window
            self._left = min(self.limit, self._left + refilled)
        elif now // self.window > self._at // self.window:
            self._left = self.limit
        self._at = now
        return self._left

    def reset(self, now: float) -> float:
        """Seconds until all of it may be used again."""
        if self.enforcement == "window":
            return self.window - now % self.window
        return (self.limit - self.left(now)) * self.window / self.limit

    def wait(self, now: float, units: float) -> float:
        """Seconds until so many units may be used; 0 if they may be now."""
        lacking = units - self.left(now)
        if lacking <= 0:
            return 0.0
        return self.reset(now) if self.enforcement == "window" else lacking * self.window / self.limit

    def use(self, now: float, units: float) -> None:
        """Below 0 gives back."""
        self._left = min(self.limit, self.left(now) - units)


@dataclass
class Account:
    """One key: its limits, and what became of its calls. Tokens are those counted against the limit."""

    meters: dict[str, Meter]
    admitted: int = 0
    refused: int = 0
    tokens: float = 0.0

    @classmethod
    def limited(cls, rpm: float, tpm: float, window: float, enforcement: Enforcement) -> Account:
        """With requests and tokens in `window` seconds; 0 is no limit."""
        limits = {"requests": rpm, "tokens": tpm}
        return cls({what: Meter(limit, window, enforcement) for what, limit in limits.items() if limit})

    def ask(self, now: float, tokens: float) -> float:
        """0 if a call of so many tokens is admitted, and is counted; else the seconds until it would be."""
        costs = {"requests": 1.0, "tokens": tokens}
        wait = max((meter.wait(now, costs[what]) for what, meter in self.meters.items()), default=0.0)
        if wait:
            self.refused += 1
            return wait
        for what, meter in self.meters.items():
            meter.use(now, costs[what])
        self.admitted += 1
        self.tokens += tokens
        return 0.0

    def give_back(self, now: float, tokens: float) -> None:
        """Tokens that were reserved and not used."""
        self.tokens -= tokens
        if meter := self.meters.get("tokens"):
            meter.use(now, -tokens)

    def headers(self, now: float) -> dict[str, str]:
        """As on every answer of the provider's."""
        told = {}
        for what, meter in self.meters.items():
            told[f"x-ratelimit-limit-{what}"] = f"{meter.limit:.0f}"
            told[f"x-ratelimit-remaining-{what}"] = f"{max(0.0, meter.left(now)) // 1:.0f}"
            told[f"x-ratelimit-reset-{what}"] = go_duration(meter.reset(now))
        return told


def go_duration(seconds: float) -> str:
    """As Go prints it, to the millisecond: `6m0s`, `1.5s`, `120ms`."""
    milliseconds = round(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    text = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else "") + text
