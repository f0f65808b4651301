"""Making and ending subscriptions without receiving anything. Blocking: for threads."""

from __future__ import annotations

import pulsar


def ensure_subscription(client: pulsar.Client, topic: str, subscription: str) -> None:
    """Makes it if missing; what is in the topic already belongs to it. Raises `pulsar.PulsarException`."""
    for consumer in _deaf_consumers(client, topic, subscription):
        consumer.close()


def unsubscribe(client: pulsar.Client, topic: str, subscription: str) -> None:
    """Ends it: the broker forgets what it kept for it. Raises `pulsar.PulsarException`."""
    for consumer in _deaf_consumers(client, topic, subscription):
        consumer.unsubscribe()


def move_to(client: pulsar.Client, topic: str, subscription: str, milliseconds: int) -> None:
    """What was published before this Unix time is acked. Raises `pulsar.PulsarException`."""
    for consumer in _deaf_consumers(client, topic, subscription):
        try:
            consumer.seek(milliseconds)
        finally:
            consumer.close()


def _deaf_consumers(client: pulsar.Client, topic: str, subscription: str) -> list[pulsar.Consumer]:
    # A consumer with a queue of 0 asks for nothing until `receive` is called: it takes no message from others.
    # On a partitioned topic as a whole it is refused, so each partition has its own.
    return [
        client.subscribe(
            partition,
            subscription,
            consumer_type=pulsar.ConsumerType.Shared,
            initial_position=pulsar.InitialPosition.Earliest,
            receiver_queue_size=0,
        )
        for partition in client.get_topic_partitions(topic)
    ]
