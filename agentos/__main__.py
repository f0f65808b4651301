"""`python -m agentos`."""

from __future__ import annotations

from agentos.cli import main

if __name__ == "__main__":
    main()
