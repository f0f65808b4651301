"""A message of Pulsar as a delivery: what a republication must carry on is in its properties."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import pulsar

from bus.port import ATTEMPT_PROPERTY, CRASHES_PROPERTY, PUBLISHED_PROPERTY, Delivery, count_of


def to_delivery(topic: str, message: pulsar.Message, place: bytes, crashes: int) -> Delivery:
    """`crashes`: those at this place; the message may have been at others before."""
    properties: dict[str, str] = message.properties()
    attempt = 1 + (count_of(properties, ATTEMPT_PROPERTY) or 0)
    crashes += count_of(properties, CRASHES_PROPERTY) or 0
    published_at, key = _published_at(message, properties), message.partition_key() or None
    return Delivery(topic, message.data(), properties, attempt, place, published_at, crashes, key)


def again_properties(delivery: Delivery, *, counted: bool) -> dict[str, str]:
    """Of its republication after a nack, which may be `counted` as an attempt."""
    return {
        **delivery.properties,
        ATTEMPT_PROPERTY: str(delivery.attempt if counted else delivery.attempt - 1),
        CRASHES_PROPERTY: str(delivery.crashes),
        PUBLISHED_PROPERTY: str(delivery.published_at),
    }


def _published_at(message: pulsar.Message, properties: Mapping[str, str]) -> float:
    first = properties.get(PUBLISHED_PROPERTY)
    with contextlib.suppress(ValueError):
        if first is not None:
            return float(first)
    milliseconds: int = message.publish_timestamp()
    return milliseconds / 1000
