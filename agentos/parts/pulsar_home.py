"""Where a distribution of Apache Pulsar is, or how it gets here."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import platformdirs

from core.errors import PartError

VERSION = "4.0.8"
_NAME = f"apache-pulsar-{VERSION}"
_MAVEN = (
    *("mvn", "-q", "-B", "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"),
    f"-Dartifact=org.apache.pulsar:pulsar-server-distribution:{VERSION}:tar.gz:bin",
)


def find_home(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The directory in PULSAR_HOME, else the newest ~/apache-pulsar-*. Raises `PartError` if PULSAR_HOME is wrong."""
    named = environ.get("PULSAR_HOME")
    if named and not _is_home(Path(named)):
        raise PartError(f"PULSAR_HOME={named}: there is no bin/pulsar in that directory")
    if named:
        return Path(named)
    found = [path for path in Path.home().glob("apache-pulsar-*") if _is_home(path)]
    return max(found, key=_version, default=None)


def fetch_home(say: Callable[[str], object], *, cache: Path | None = None) -> Path:
    """The distribution in the user's cache, fetched with Maven if it is not there yet. Raises `PartError`.

    `say` is told when something is done that takes time. Two at once fetch once.
    """
    cache = cache or platformdirs.user_cache_path("agentos")
    home = cache / _NAME
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _alone(cache / "pulsar.lock"):
            if not home.exists():
                _fetch(home, say)
    except (OSError, tarfile.TarError) as error:
        raise PartError(f"Apache Pulsar could not be unpacked in {cache}: {error}") from error
    return home


def _fetch(home: Path, say: Callable[[str], object]) -> None:
    if shutil.which("mvn") is None:
        raise PartError(
            "there is no Apache Pulsar here. Set PULSAR_URL to a running broker, or PULSAR_HOME to an unpacked "
            "distribution, or start a Docker engine, or install Maven, which fetches it: apt-get install -y maven"
        )
    with tempfile.TemporaryDirectory(dir=home.parent, prefix="pulsar-") as scratch:
        say(f"fetching Apache Pulsar {VERSION} with Maven, about 245 MB")
        done = subprocess.run(
            [*_MAVEN, f"-DoutputDirectory={scratch}"], stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if done.returncode:
            lines = (done.stdout + done.stderr).strip().splitlines()[-5:]
            raise PartError(f"Maven could not fetch Apache Pulsar {VERSION}:\n  " + "\n  ".join(lines))
        say(f"unpacking Apache Pulsar {VERSION}")
        (archive,) = Path(scratch).glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            # The first releases of Python 3.11 know no filters.
            tar.extraction_filter = getattr(tarfile, "data_filter", None)
            tar.extractall(scratch)
        # Whole or not at all: a directory of this name is complete.
        (Path(scratch) / _NAME).rename(home)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_home(path: Path) -> bool:
    return (path / "bin" / "pulsar").is_file()


def _version(path: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", path.name))
