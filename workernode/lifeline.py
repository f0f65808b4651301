"""`python lifeline.py PARENT COMMAND…`: becomes COMMAND, bound to the life of PARENT, the process that started it.

For programs that know nothing of us. On Linux the kernel kills COMMAND when its parent ends, even by SIGKILL;
elsewhere it is ended only by a parent that ends in order.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Does not return."""
    parent = int(sys.argv[1])
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the kernel knew
            os._exit(1)
    # The shell knows how to start a llamafile, which is a program for many systems at once.
    os.execv("/bin/sh", ["sh", "-c", 'exec "$@"', "sh", *sys.argv[2:]])


if __name__ == "__main__":
    main()
