"""Writes docs/errors.md from the table of upstream errors: `python -m tools.errors_page`."""

from __future__ import annotations

from pathlib import Path

from workernode.classify import LOSSES, REFUSALS, WAITS, Loss, Retry, Rule, Upstream
from workernode.limits.availability import CONFIRMED_AFTER, OUTAGE_AFTER, TELL_AFTER

PAGE = Path(__file__).parent.parent / "docs" / "errors.md"
HEAD = f"""# When an upstream fails

Made by `python -m tools.errors_page` from the worker's own table. What has happened decides four things:

- **Again**: whether the request is acked (it is over) or nacked: it goes back to the topic, for any node, after a
  random wait of so long. An upstream's `retry-after` replaces the wait, but for a 429: then this node pauses, and
  others need not. No retry is made of a stream of which the client has a part, nor beyond the request's deadline, nor
  beyond the retry budget: retries are at most a tenth of the calls.
- **At most**: `AGENTOS_MAX_ATTEMPTS`; or as often as there is time until the deadline, if the attempt is not counted.
- **The client gets**, when it is over. Errors of the upstream's own pass through field by field, without keys.
- **Management hears**: an `unavailable` event on the result topic, once, and `recovered` when it is over. Meanwhile
  the node takes nothing and probes gently: first by a free call, then by one message. "In doubt": after
  {CONFIRMED_AFTER} of these in a row, since one request alone may have caused one. "Outage": {OUTAGE_AFTER} in a row
  stop the node, and management hears after {TELL_AFTER:.0f} s.

See [rate-limits.md](rate-limits.md) for what a 429 does.

"""
LOSS_WORDS = {
    Loss.UNREACHABLE: "no connection",
    Loss.CONNECTION: "the connection was lost in mid-call",
    Loss.SILENCE: "silence for `AGENTOS_IDLE_TIMEOUT_SECONDS`",
    Loss.CALL_TIME: "no end after `AGENTOS_CALL_TIMEOUT_SECONDS`",
    Loss.HALF_STREAM: "a stream ended half way",
    Loss.NOT_AN_ANSWER: "200 with HTML, broken JSON or the like; a status below 400 or above 599",
}


def page() -> str:
    """The whole page."""
    rows = [(kind.value, rule) for kind, rule in REFUSALS.items()]
    rows += [(LOSS_WORDS[loss], rule) for loss, rule in LOSSES.items()]
    lines = [f"| {when} | {again(rule)} | {limit(rule)} | {told(rule)} | {heard(rule)} |\n" for when, rule in rows]
    head = (
        "| what happens | again | at most | the client gets | management hears |\n| --- | --- | --- | --- | --- |\n"
    )
    return HEAD + head + "".join(lines)


def again(rule: Rule) -> str:
    """What becomes of the message."""
    if rule.retry is Retry.NEVER:
        return "no: ack"
    first, longest = WAITS[rule.retry]
    return f"nack, up to {first:g} s" + (f", doubling to {longest:g} s" if longest > first else "")


def limit(rule: Rule) -> str:
    """How often it is tried."""
    if rule.retry is Retry.NEVER:
        return "once"
    return "`AGENTOS_MAX_ATTEMPTS`" if rule.counted else "until the deadline"


def told(rule: Rule) -> str:
    """The error of whoever asked."""
    return f"{rule.told.status} `{rule.told.code}`" if rule.told else "the upstream's own"


def heard(rule: Rule) -> str:
    """The event for people."""
    if rule.fault is not None:
        doubt = "" if rule.fault.sure else ", in doubt"
        return f"`{rule.fault.reason}`{doubt}: {rule.fault.message}"
    return "`GeneralError`: outage" if rule.upstream is Upstream.FAILED else "–"


if __name__ == "__main__":
    PAGE.write_text(page())
