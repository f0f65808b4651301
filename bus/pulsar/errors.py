"""Pulsar's errors in the words of `core.errors`: one table, by the names of its results and exceptions."""

from __future__ import annotations

from typing import Any

from pulsar import PulsarException

from core.errors import BusClosed, BusError, BusRefused, BusUnavailable, MessageRefused

# Retried: the broker or the way to it is not well now.
_UNAVAILABLE = (
    "BrokerMetadataError BrokerPersistenceError ChecksumError ConnectError ConsumerAssignError ConsumerNotFound "
    "Interrupted LookupError MemoryBufferIsFull NotConnected ProducerBlockedQuotaExceededError "
    "ProducerBlockedQuotaExceededException ProducerBusy ProducerQueueIsFull PulsarException ReadError "
    "ServiceUnitNotReady Timeout TooManyLookupRequestException TransactionConflict "
    "TransactionCoordinatorNotFoundError UnknownError"
)
# Fatal: only a person can mend it. `ConsumerBusy`: the subscription exists with another type, or is full.
_REFUSED = (
    "AuthenticationError AuthorizationError ConsumerBusy CumulativeAcknowledgementNotAllowedError "
    "ErrorGettingAuthenticationData IncompatibleSchema InvalidConfiguration InvalidTopicName InvalidTxnStatusError "
    "InvalidUrl NotAllowedError OperationNotSupported ProducerFenced SubscriptionNotFound TopicNotFound "
    "TopicTerminated TransactionNotFound UnsupportedVersionError"
)
# Poison: this one message.
_MESSAGE = "CryptoError InvalidMessage MessageTooBig"
_CLOSED = "AlreadyClosed ConsumerNotInitialized ProducerNotInitialized"

CLASSES: dict[str, type[BusError]] = {
    name: kind
    for kind, names in (
        (BusUnavailable, _UNAVAILABLE),
        (BusRefused, _REFUSED),
        (MessageRefused, _MESSAGE),
        (BusClosed, _CLOSED),
    )
    for name in names.split()
}


def from_exception(error: PulsarException, doing: str) -> BusError:
    """`doing` says what failed and on what, as `subscribing to model-x`."""
    return _named(type(error).__name__, doing)


def from_result(result: Any, doing: str) -> BusError:
    """For a `pulsar.Result` other than `Ok`, as callbacks get it."""
    return _named(str(result.name), doing)


def _named(name: str, doing: str) -> BusError:
    return CLASSES.get(name, BusUnavailable)(f"{doing}: Pulsar says {name}")
