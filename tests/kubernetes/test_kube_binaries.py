"""Kubernetes' programs where they cannot be built."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_without_go_and_with_an_empty_cache_it_says_what_is_missing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fixtures.kube_binaries"]
    environment = {"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert ended.stderr.startswith("Go is missing (1.24 or newer), and not in the cache: kube-apiserver, ")
