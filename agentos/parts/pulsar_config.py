"""What our Pulsar is told: its settings, and the token of its owner."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping

ADDRESS = "127.0.0.1"
# Who may do everything, where tokens are asked for.
OWNER = "agentos"

SETTINGS = {
    "bindAddress": ADDRESS,
    "advertisedAddress": ADDRESS,
    # Durable against a power cut. Costs next to nothing where many publish at once.
    "journalSyncData": "true",
    # A consumer that has read everything hears of the next message at once, not 10 ms later.
    "managedLedgerNewEntriesCheckDelayInMillis": "0",
    # Positions of acks are written 20 times a second, not every 10 s: less is delivered again after a crash.
    "managedLedgerDefaultMarkDeleteRateLimit": "20",
    "managedLedgerCursorPositionFlushSeconds": "1",
    # A delayed message comes neither a second early nor a second late.
    "isDelayedDeliveryDeliverAtTimeStrict": "true",
    "delayedDeliveryTickTimeMillis": "100",
    # A broker drops frames of a channel while more than this is on its way to the listener; 64 KiB by default.
    "pulsarChannelWriteBufferHighWaterMark": str(64 << 20),
    "pulsarChannelWriteBufferLowWaterMark": str(32 << 20),
    # Not used here; without them a broker starts, stops and makes topics faster.
    "webSocketServiceEnabled": "false",
    "systemTopicEnabled": "false",
    "topicLevelPoliciesEnabled": "false",
    "brokerShutdownTimeoutMs": "5000",
}


def standalone_conf(shipped: str, *, broker_port: int, web_port: int, token_secret: bytes | None) -> str:
    """`shipped`: the text of conf/standalone.conf. Settings that it does not have are added at its end."""
    values = SETTINGS | {"brokerServicePort": str(broker_port), "webServicePort": str(web_port)}
    if token_secret is not None:
        values |= _authentication(token_secret)
    return _edit(shipped, values)


def make_token(secret: bytes, role: str) -> str:
    """A JSON Web Token (HS256) that says who its holder is. It does not expire."""
    signed = _encode({"alg": "HS256", "typ": "JWT"}) + b"." + _encode({"sub": role})
    return (signed + b"." + _base64(hmac.digest(secret, signed, hashlib.sha256))).decode()


def _authentication(secret: bytes) -> Mapping[str, str]:
    return {
        "authenticationEnabled": "true",
        "authorizationEnabled": "true",
        "authenticationProviders": "org.apache.pulsar.broker.authentication.AuthenticationProviderToken",
        "tokenSecretKey": "data:;base64," + base64.b64encode(secret).decode(),
        "superUserRoles": OWNER,
        "brokerClientAuthenticationPlugin": "org.apache.pulsar.client.impl.auth.AuthenticationToken",
        "brokerClientAuthenticationParameters": "token:" + make_token(secret, OWNER),
    }


def _edit(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        line = f"{name}={value}"
        text, found = re.subn(rf"^{re.escape(name)}=.*$", line.replace("\\", r"\\"), text, flags=re.MULTILINE)
        if not found:
            text += f"\n{line}\n"
    return text


def _encode(claims: Mapping[str, str]) -> bytes:
    return _base64(json.dumps(claims).encode())


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
