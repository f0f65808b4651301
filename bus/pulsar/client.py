"""How a client of Pulsar is made: address, token, logs."""

from __future__ import annotations

import atexit
from urllib.parse import urlsplit

import pulsar

from bus.pulsar.errors import from_exception

# The client's own warnings go to standard error, past Python: a Python logger would be called, and the interpreter's
# lock taken, for each debug line too, several for a message. None of its lines holds a token.
_LOG = pulsar.FileLogger(pulsar.LoggerLevel.Warn, "/dev/stderr")

# How long a call (lookup, subscribe, make a producer) is retried while the broker does not answer.
OPERATION_SECONDS = 10
# For how long a question is asked again, which changes nothing: a topic that is moved to another broker, or loaded
# anew, drops its readers in the midst of what they ask.
QUESTION_SECONDS = 15.0


def open_client(url: str, token: str) -> pulsar.Client:
    """Connects lazily: errors other than a malformed `url` come with the first call. Raises `BusError`."""
    authentication = pulsar.AuthenticationToken(token) if token else None
    try:
        client = pulsar.Client(
            url,
            authentication=authentication,
            operation_timeout_seconds=OPERATION_SECONDS,
            stats_interval_in_seconds=0,
            logger=_LOG,
        )
    except pulsar.PulsarException as error:
        raise from_exception(error, f"opening a client for {url}") from error
    # Its threads would abort a process whose interpreter ends before them.
    atexit.register(client.close)
    return client


def close_client(client: pulsar.Client) -> None:
    """Blocks until its threads have ended. Raises `pulsar.PulsarException`."""
    atexit.unregister(client.close)
    client.close()


def derive_admin_url(url: str) -> str:
    """The admin address beside a broker's service address, on Pulsar's standard ports."""
    secure = url.startswith("pulsar+ssl:")
    # Several brokers may be named, separated by commas; each serves the admin API.
    host = urlsplit(url.split(",")[0]).hostname or ""
    host = f"[{host}]" if ":" in host else host
    return f"https://{host}:8443" if secure else f"http://{host}:8080"
