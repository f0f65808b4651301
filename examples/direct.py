"""Publishes a request straight to a model's topic on Pulsar and waits for the answer at an endpoint of its own.

`python examples/direct.py [PULSAR_URL [MODEL]]`
"""

from __future__ import annotations

import json
import sys
import uuid
from http.server import BaseHTTPRequestHandler, HTTPServer

import pulsar

from bus.topics import model_topic

url = sys.argv[1] if len(sys.argv) > 1 else "pulsar://127.0.0.1:6650"
model = sys.argv[2] if len(sys.argv) > 2 else "mock"


class Endpoint(BaseHTTPRequestHandler):
    """Takes the worker's POST."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()
        print(body["request_id"], body["data"]["choices"][0]["message"]["content"])

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


with HTTPServer(("127.0.0.1", 0), Endpoint) as server:
    server.timeout = 60
    client = pulsar.Client(url, logger=pulsar.ConsoleLogger(pulsar.LoggerLevel.Error))
    request = {
        "request_id": uuid.uuid4().hex,
        "stream": False,
        "endpoint": f"http://127.0.0.1:{server.server_port}/",
        "data": {"model": model, "messages": [{"role": "user", "content": "Say hello."}]},
    }
    client.create_producer(model_topic(model)).send(json.dumps(request).encode())
    server.handle_request()
    client.close()
