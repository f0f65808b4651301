"""Asks a daemon for its health, again and again, and tells the longest time it took; a process of its own."""

from __future__ import annotations

import http.client
import threading
import time
from urllib.parse import urlsplit

from bench.talk import configuration, say, told

PAUSE_SECONDS = 0.02
PATIENCE_SECONDS = 30.0


def main() -> None:
    """Between every two lines of the bench: one measurement."""
    place = urlsplit(configuration()["url"])
    say(ready=True)
    while told() is not None:
        over = threading.Event()
        times: list[float] = []
        asking = threading.Thread(target=_ask, args=(place.netloc, over, times))
        asking.start()
        told()
        over.set()
        asking.join()
        say(longest=max(times, default=0.0), asked=len(times))


def _ask(place: str, over: threading.Event, times: list[float]) -> None:
    while not over.wait(PAUSE_SECONDS):
        began = time.monotonic()
        connection = http.client.HTTPConnection(place, timeout=PATIENCE_SECONDS)
        connection.request("GET", "/health")
        connection.getresponse().read()
        connection.close()
        times.append(time.monotonic() - began)


if __name__ == "__main__":
    main()
