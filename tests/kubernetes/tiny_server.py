"""What the tests' Pods run: an HTTP server on HOST and PORT that says what happens to it.

/health is good until /break was asked for. With DRAIN_SECONDS it takes so long to end after SIGTERM.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

broken = threading.Event()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/break":
            broken.set()
        bad = self.path == "/health" and broken.is_set()
        self.send_response(500 if bad else 200)
        self.end_headers()
        self.wfile.write(os.environ.get("VERSION", "").encode())

    def log_message(self, format: str, *arguments: object) -> None:
        """Probes are not worth a line."""


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def drain(server: ThreadingHTTPServer) -> None:
    say("draining")
    time.sleep(float(os.environ.get("DRAIN_SECONDS", "0")))
    say("drained")
    server.shutdown()


def main() -> None:
    server = ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=drain, args=[server]).start())
    say("serving")
    server.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main()
