"""Where a distribution of Pulsar comes from, and what the broker is told."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from pathlib import Path

import pytest

from agentos.parts.pulsar_config import make_token, standalone_conf
from agentos.parts.pulsar_home import VERSION, fetch_home, find_home
from core.errors import PartError

# Stands in for Maven, which would fetch 245 MB: packs a small distribution, slowly enough to be caught in the act.
MAVEN = f"""#!/bin/sh
for argument; do case $argument in -DoutputDirectory=*) out=${{argument#*=}};; esac; done
echo run >> "$MAVEN_LOG"
[ -z "$MAVEN_FAILS" ] || {{ echo "no route to the registry"; exit 1; }}
mkdir -p "$out/x/apache-pulsar-{VERSION}/bin" && touch "$out/x/apache-pulsar-{VERSION}/bin/pulsar"
tar -C "$out/x" -czf "$out/pulsar.tar.gz" "apache-pulsar-{VERSION}"
"""


@pytest.fixture
def maven_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "mvn").write_text(MAVEN)
    (tools / "mvn").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setenv("MAVEN_LOG", str(tmp_path / "maven.log"))
    return tmp_path / "maven.log"


def test_two_at_once_fetch_once_and_the_cache_holds_nothing_else(tmp_path: Path, maven_log: Path) -> None:
    cache, homes = tmp_path / "cache", []
    threads = [threading.Thread(target=lambda: homes.append(fetch_home(str, cache=cache))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert homes == [cache / f"apache-pulsar-{VERSION}"] * 2
    assert find_home({"PULSAR_HOME": str(homes[0])}) == homes[0]
    assert maven_log.read_text() == "run\n"
    assert {path.name for path in cache.iterdir()} == {homes[0].name, "pulsar.lock"}


def test_a_fetch_that_fails_says_why_and_leaves_nothing(
    tmp_path: Path, maven_log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAVEN_FAILS", "1")
    with pytest.raises(PartError, match="no route to the registry"):
        fetch_home(str, cache=tmp_path / "cache")
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {"pulsar.lock"}


def test_without_maven_every_way_to_a_broker_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PartError, match=r"PULSAR_URL.*PULSAR_HOME.*Docker.*apt-get install -y maven"):
        fetch_home(str, cache=tmp_path / "cache")


def test_a_wrong_pulsar_home_is_said_to_be_wrong(tmp_path: Path) -> None:
    with pytest.raises(PartError, match="PULSAR_HOME"):
        find_home({"PULSAR_HOME": str(tmp_path)})


def test_the_newest_distribution_at_home_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_home({}) is None
    for version in ("4.0.9", "4.0.10", "3.3.1"):
        (tmp_path / f"apache-pulsar-{version}" / "bin").mkdir(parents=True)
        (tmp_path / f"apache-pulsar-{version}" / "bin" / "pulsar").touch()
    assert find_home({}) == tmp_path / "apache-pulsar-4.0.10"


def test_settings_replace_what_is_shipped_and_are_added_where_nothing_is() -> None:
    shipped = "# bindAddress=commented\nbindAddress=0.0.0.0\nkept=yes\n"
    lines = standalone_conf(shipped, broker_port=1, web_port=2, token_secret=None).splitlines()
    assert {"# bindAddress=commented", "bindAddress=127.0.0.1", "kept=yes", "brokerServicePort=1"} <= set(lines)
    assert "bindAddress=0.0.0.0" not in lines
    assert not any(line.startswith("tokenSecretKey") for line in lines)


def test_a_token_names_its_holder_and_is_signed() -> None:
    header, claims, signature = make_token(b"k" * 32, "someone").split(".")
    assert json.loads(base64.urlsafe_b64decode(claims + "==")) == {"sub": "someone"}
    expected = hmac.digest(b"k" * 32, f"{header}.{claims}".encode(), hashlib.sha256)
    assert base64.urlsafe_b64decode(signature + "=") == expected
