"""Writes requirement.txt from pyproject.toml: `python tools/requirement.py`."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAD = "# Made by tools/requirement.py from pyproject.toml, which says what each is for.\n"


def requirement() -> str:
    """The file's text. Every dependency must be pinned; raises `ValueError` otherwise."""
    names: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    loose = [name for name in names if "==" not in name]
    if loose:
        raise ValueError(f"not pinned in pyproject.toml: {', '.join(loose)}")
    return HEAD + "".join(f"{name}\n" for name in names)


if __name__ == "__main__":
    (ROOT / "requirement.txt").write_text(requirement())
