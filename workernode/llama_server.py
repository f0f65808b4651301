"""llama.cpp's own HTTP server in a process of its own: `python llama_server.py --model FILE --port N`.

It serves as long as its standard input is open: it ends with the process that started it, however that ends.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

# Tokens of a text to embed, which must fit into one batch; the model's context bounds it as well.
LONGEST_TEXT = 8192


def main(arguments: list[str] | None = None) -> int:
    """Serves on 127.0.0.1. Exit code: 0 at the end of the input or after SIGTERM, 1 if there is nothing to serve."""
    options = _parser().parse_args(arguments)
    # The starter decides when to end: Ctrl-C in its terminal reaches the whole group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    import xllamacpp  # here: it takes a while, and --help must work without it

    params = xllamacpp.CommonParams()
    params.model.path = str(options.model)
    params.hostnames = ["127.0.0.1"]
    params.port = options.port
    params.n_parallel = options.parallel
    for threads in (params.cpuparams, params.cpuparams_batch):
        threads.n_threads = options.threads
    if options.pooling:
        params.embedding = True
        params.n_batch = params.n_ubatch = LONGEST_TEXT
        if options.pooling != "model":
            params.pooling_type = getattr(
                xllamacpp.llama_pooling_type, f"LLAMA_POOLING_TYPE_{options.pooling.upper()}"
            )
    params.kv_unified = True  # slots share the context: one long request may use all of it
    params.model_alias = {options.alias}  # else answers would tell the file's place
    params.cors_origins = "null"  # no web page is its client
    params.ui = False
    params.endpoint_metrics = True
    try:
        server = xllamacpp.Server(params)
    except (RuntimeError, ValueError) as error:
        sys.stderr.write(f"llama.cpp cannot serve {options.model}: {error}\n")
        return 1
    sys.stderr.write(f"serving on {server.listening_address}\n")
    while os.read(sys.stdin.fileno(), 4096):
        pass
    # Its threads may be within a long computation: nothing is kept here that must be put in order.
    os._exit(0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="workernode.llama_server", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="GGUF file")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--alias", default="local", help="the model's name in answers")
    parser.add_argument("--threads", type=int, default=-1, help="default: one for each CPU")
    parser.add_argument("--parallel", type=int, default=1, help="requests at once")
    parser.add_argument(
        "--pooling",
        choices=["", "model", "mean", "cls", "last"],
        default="",
        help="serve embeddings as well: how the tokens of a text become one vector (model: as its file says)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
