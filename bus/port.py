"""The port: what the rest of AgentOS asks of a broker. Both adapters keep it under one contract suite.

Two kinds of traffic:

- **Topics** are durable. A message is kept for every subscription that exists when it is published, until that
  subscription acks it. Subscriptions are Shared: each message goes to one consumer. Delivery is at least once.
- **Channels** are not. A frame reaches whoever listens at that moment, at most once, in milliseconds: chunks of
  a stream, cancellations, announcements.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

# Bodies above this many bytes travel as blobs (claim-check): Pulsar's own limit is 5 MiB for body and headers.
CLAIM_CHECK_BYTES = 1 << 20

# Property that counts deliveries which ended in a nack. Pulsar's own count does not survive a republication.
ATTEMPT_PROPERTY = "agentos-attempt"
# Property that counts deliveries whose consumer died, for the same reason.
CRASHES_PROPERTY = "agentos-crashes"
# Property of a republication: when the message was first published, in Unix seconds.
PUBLISHED_PROPERTY = "agentos-published-at"
# Property of a dead letter: why it is one, for a person.
REASON_PROPERTY = "agentos-reason"


class Outgoing(msgspec.Struct, frozen=True):
    """A message to publish. `deliver_after` is in seconds; 0 is at once. `key`: for `Bus.published`.

    `leave_by`: the Unix time after which a `kept` publisher does not publish it, but raises `BusUnavailable`,
    however long the process or the broker has stood still meanwhile: somebody else may be publishing it by then.
    """

    body: bytes
    properties: Mapping[str, str] = {}
    deliver_after: float = 0.0
    key: str | None = None
    leave_by: float | None = None


class Delivery(msgspec.Struct, frozen=True):
    """A message received and not yet settled.

    `attempt` is 1 at first and grows with every nack. `published_at` is when the message was first published, in Unix
    seconds by the broker's clock. `crashes` counts earlier deliveries whose consumer died before it settled them.
    """

    topic: str
    body: bytes
    properties: Mapping[str, str]
    attempt: int
    handle: Any  # the adapter's own
    published_at: float
    crashes: int = 0
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many messages of a subscription wait: for a consumer now, for their time, for an ack.

    Pulsar learns that a message is delayed when it reads it for a consumer; until then it counts as ready. A batch
    counts as one message there until a consumer has had one.
    """

    ready: int
    delayed: int
    in_flight: int


class Publisher(Protocol):
    """Publishes to one topic."""

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """Returns once the broker has confirmed every message.

        Raises `MessageRefused` if the broker does not take one of them, `BusUnavailable` if it cannot be reached,
        `BusRefused`, `BusClosed`. After an error some of the messages may have been published all the same.
        """

    async def close(self) -> None: ...


class Subscription(Protocol):
    """A consumer of one Shared subscription. At most `window` deliveries are unsettled at any time."""

    def allow(self, count: int) -> None:
        """From now on at most `count` deliveries (0 to `window`, which is allowed at first) are unsettled at once.

        After a reduction what the broker has sent already may still come: one, or `prefetch`. After `pause` this
        does nothing.
        """

    async def receive(self) -> list[Delivery]:
        """Waits for at least one delivery; returns as many as have arrived. Raises `BusClosed` after `close`."""

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Settles as done. A redelivery is still possible after a crash of the broker: settle idempotently."""

    async def nack(self, delivery: Delivery, *, delay: float, reason: str, counted: bool = True) -> None:
        """Settles as not done: delivered again, to any consumer, no earlier than after `delay` seconds.

        On Pulsar this publishes again: where a topic has several subscriptions each sees the message once more,
        so messages that may be nacked belong on topics with one subscription.
        The delivery after `max_attempts` nacks goes to the dead-letter topic instead, with `reason`; those that are
        not `counted` have no part in that.
        """

    async def give_back(self, delivery: Delivery) -> None:
        """Lets go of it: it returns to the topic at once (Pulsar: within half a second) for any consumer, and counts
        neither as an attempt nor as a crash.
        """

    async def dead_letter(self, delivery: Delivery, *, reason: str) -> None:
        """Settles as hopeless: moved to the dead-letter topic with `reason` and its counts as properties."""

    async def pause(self) -> None:
        """Takes nothing more. What has come and was not received goes back at once; what was received can still be
        settled. With a `prefetch` above 1, what the broker has sent ahead may stay until `close`.
        """

    async def close(self) -> None:
        """Stops receiving. Unsettled deliveries go back to the topic at once. A second close does nothing."""


class Listening(Protocol):
    """A running `listen`."""

    async def close(self) -> None: ...


class Bus(Protocol):
    """A connection to a broker."""

    async def publisher(self, topic: str, *, batching: bool = False, kept: bool = False) -> Publisher:
        """A publisher for `topic`, shared by all who ask for the same.

        `kept`: the caller keeps the messages for a second longer and publishes them again after a crash of the
        broker (an outbox), so that their confirmation need not wait for the disk.

        With `batching` the broker may store many messages as one entry, which goes whole to one consumer: for
        topics whose consumers take everything anyway.
        """

    async def subscribe(
        self,
        topic: str,
        subscription: str,
        *,
        window: int,
        prefetch: int = 1,
        max_attempts: int = 5,
        journal: bool = True,
    ) -> Subscription:
        """Joins (and makes, if missing) a Shared subscription.

        `window`: deliveries that may be unsettled at once. `prefetch`: how many the broker may send ahead within
        the window; 1 leaves waiting messages to consumers that are free. `journal`: the consumers tell one another
        what they have started and settled. Without it Pulsar counts no crashes and repeats what was settled shortly
        before its broker died: for work that is cheap to do twice. Postgres knows both anyway.
        """

    async def ensure_subscription(self, topic: str, subscription: str) -> None:
        """Makes the subscription if missing, so that what is published from now on waits for its consumers."""

    async def topics(self) -> list[str]:
        """The durable topics that have been made, in no order."""

    async def published(self, topic: str, since: float, keys: Collection[str]) -> set[str]:
        """Those of `keys` under which something was published to `topic` since that Unix time and may still be there.

        A message is found until every subscription has acked it, wherever it is meanwhile: not yet due, held by a
        consumer, given back, published again after a nack. An acked one may be found. Clocks may differ by a few
        seconds. A topic that is missing holds nothing. Made for questions after an accident: it reads all of the
        topic since then. Raises `BusUnavailable`, `BusRefused`.
        """

    async def backlog(self, topic: str, subscription: str) -> Backlog:
        """Figures of a subscription; zeros where it does not exist."""

    async def send(self, channel: str, frame: bytes) -> None:
        """Sends a frame (valid UTF-8, at most 1 MiB) to whoever listens to `channel` now."""

    async def listen(self, channel: str, handler: Callable[[bytes], None]) -> Listening:
        """Calls `handler` on the event loop for every frame from now on. `handler` must not block or raise."""

    async def put_blob(self, data: bytes) -> str:
        """Keeps a large body and returns its reference, once it is durable."""

    async def get_blob(self, reference: str) -> bytes:
        """The body. Raises `BlobMissing` if it was dropped."""

    async def drop_blob(self, reference: str) -> None:
        """Forgets the body. Dropping twice is no error."""

    async def check(self) -> None:
        """Returns if the broker answers; raises `BusUnavailable` or `BusRefused` if not."""

    async def close(self) -> None:
        """Closes subscriptions, listeners, publishers, then the connection. A second close does nothing."""


def dead_letter_topic(topic: str, subscription: str) -> str:
    """Pulsar's own convention for the name of a dead-letter topic."""
    return f"{topic}-{subscription}-DLQ"


DEAD_LETTER_SUBSCRIPTION = "dead-letters"


def count_of(properties: Mapping[str, str], name: str) -> int | None:
    """The count in a property; None where nobody wrote it, or a stranger something else."""
    text = properties.get(name, "")
    return int(text) if text.isdecimal() else None


def dead_letter_properties(delivery: Delivery, reason: str) -> dict[str, str]:
    """Those of the message, its counts and the reason. A dead letter's own publication is when it became one."""
    kept = {name: value for name, value in delivery.properties.items() if name != PUBLISHED_PROPERTY}
    return kept | {
        ATTEMPT_PROPERTY: str(delivery.attempt),
        CRASHES_PROPERTY: str(delivery.crashes),
        REASON_PROPERTY: reason,
    }
