"""`python -m tests.double --port 0`: serves until it is ended; the first line it prints is JSON with its `url`."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys

from tests.double.server import Provider


async def serve(arguments: argparse.Namespace) -> None:
    provider = Provider(
        key=arguments.key,
        rpm=arguments.rpm,
        tpm=arguments.tpm,
        window=arguments.window,
        enforcement=arguments.enforcement,
        refunds=arguments.refunds,
        delay=arguments.delay,
        pace=arguments.pace,
        bears=arguments.bears,
        fails=arguments.fails,
        seed=arguments.seed,
        forgetful=True,
        booked=arguments.booked,
    )
    await provider.start(port=arguments.port)
    sys.stdout.write(json.dumps({"url": provider.url}) + "\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.double", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--key", default="", help="the only key accepted")
    parser.add_argument("--rpm", type=float, default=0, help="requests of a key in a window")
    parser.add_argument("--tpm", type=float, default=0, help="tokens of a key in a window")
    parser.add_argument("--window", type=float, default=60.0, help="seconds")
    parser.add_argument("--enforcement", choices=["bucket", "window"], default="bucket")
    parser.add_argument("--refunds", action="store_true", help="give back reserved tokens that were not used")
    parser.add_argument("--bears", type=int, default=0, help="calls at once before it becomes slow; 0: any number")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before an answer")
    parser.add_argument("--pace", type=float, default=0.0, help="seconds between chunks")
    parser.add_argument("--fails", type=float, default=0.0, help="the part of calls that end in status 500")
    parser.add_argument("--seed", type=int, default=0, help="which of them")
    parser.add_argument("--booked", action="store_true", help="keep a book of calls, to be read at /book")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
