from __future__ import annotations

import hashlib
import http.server
import os
import random
import shlex
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

SCRIPT = Path(__file__).parents[2] / "local.sh"
GGUF = b"GGUF and more"
LLAMAFILE = b"MZqFpD and more"


def local_sh(tmp_path: Path, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    command = [str(SCRIPT), *map(str, arguments)]
    return subprocess.run(
        command, env=kept | environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )


def model_of(run: subprocess.CompletedProcess[str]) -> Path:
    """The file that the printed settings name."""
    assert run.returncode == 0, run.stderr
    node_type, file = shlex.split(run.stdout)
    assert node_type == "NODE_TYPE=local"
    return Path(file.removeprefix("AGENTOS_MODEL_FILE="))


def test_without_a_model_it_writes_the_tiny_one_and_says_so(tmp_path: Path) -> None:
    run = local_sh(tmp_path)
    assert model_of(run).read_bytes().startswith(b"GGUF")
    assert "nonsense" in run.stderr


@pytest.mark.parametrize("variable", [None, "MODEL_FILE", "AGENTOS_MODEL_FILE"])
def test_a_file_is_taken_as_it_is(tmp_path: Path, variable: str | None) -> None:
    file = tmp_path / "my model.gguf"
    file.write_bytes(GGUF)
    run = local_sh(tmp_path, **{variable: file.name}) if variable else local_sh(tmp_path, file.name)
    assert model_of(run) == file


def test_a_llamafile_is_made_executable(tmp_path: Path) -> None:
    file = tmp_path / "some.llamafile"
    file.write_bytes(LLAMAFILE)
    assert os.access(model_of(local_sh(tmp_path, file)), os.X_OK)


def test_a_checksum_is_compared_before_anything_is_made_executable(tmp_path: Path) -> None:
    file = tmp_path / "some.llamafile"
    file.write_bytes(LLAMAFILE)
    wrong = local_sh(tmp_path, file, "--sha256", "0" * 64)
    assert wrong.returncode == 1
    assert "SHA-256" in wrong.stderr
    assert not os.access(file, os.X_OK)
    right = hashlib.sha256(LLAMAFILE).hexdigest().upper()
    assert model_of(local_sh(tmp_path, "--sha256", right, file)) == file


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing")
def test_a_model_is_fetched_once_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    there, here = tmp_path / "there.gguf", tmp_path / "new" / "here.gguf"
    there.write_bytes(GGUF)
    here.parent.mkdir()
    here.with_name("here.gguf.part").write_bytes(GGUF[:5])
    for _ in range(2):
        assert model_of(local_sh(tmp_path, "--url", there.as_uri(), here)).read_bytes() == GGUF
        there.write_bytes(b"another")
    assert list(here.parent.iterdir()) == [here]


class Shop(http.server.BaseHTTPRequestHandler):
    """Has one model. Ends its first answer half way; goes on where it is asked to."""

    model = GGUF + random.Random(1).randbytes(3_000_000)
    asked: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        self.asked.append(self.headers.get("Range"))
        rest = self.model[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(rest)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(self.model) - 1}/{len(self.model)}")
        self.end_headers()
        self.wfile.write(rest[:1_000_000] if len(self.asked) == 1 else rest)
        self.close_connection = True

    def log_message(self, format: str, *_: object) -> None:
        """Nothing to standard error."""


@pytest.fixture
def shop() -> Iterator[str]:
    Shop.asked.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shop) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}/some.gguf?download=true"
        server.shutdown()
        serving.join()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing")
def test_a_download_that_breaks_off_goes_on_and_is_checked_as_a_whole(tmp_path: Path, shop: str) -> None:
    checksum = hashlib.sha256(Shop.model).hexdigest()
    broken = local_sh(tmp_path, "--url", shop, "--sha256", checksum)
    assert broken.returncode == 1
    assert "was not fetched" in broken.stderr
    folder = tmp_path / ".cache" / "agentos" / "models"
    assert [each.name for each in folder.iterdir()] == ["some.gguf.part"]
    whole = local_sh(tmp_path, "--url", shop, "--sha256", checksum)
    assert model_of(whole) == folder / "some.gguf"
    assert model_of(whole).read_bytes() == Shop.model
    assert Shop.asked == [None, "bytes=1000000-"]
    assert "100.0%" in whole.stderr  # the progress bar


def test_a_whole_download_is_not_asked_for_again(tmp_path: Path, shop: str) -> None:
    """A run that was ended while it reckoned the checksum."""
    (tmp_path / "model.gguf.whole").write_bytes(GGUF)
    assert model_of(local_sh(tmp_path, "--url", shop, "model.gguf")).read_bytes() == GGUF
    assert Shop.asked == []


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing")
def test_a_download_with_another_checksum_never_gets_the_models_name(tmp_path: Path, shop: str) -> None:
    Shop.asked.append("as if asked before")
    wrong = local_sh(tmp_path, "--url", shop, "--sha256", "0" * 64, "model.gguf")
    assert wrong.returncode == 1
    assert "SHA-256" in wrong.stderr
    assert wrong.stdout == ""
    assert list(tmp_path.glob("model.gguf*")) == []
    right = local_sh(tmp_path, "--url", shop, "--sha256", hashlib.sha256(Shop.model).hexdigest(), "model.gguf")
    assert model_of(right).read_bytes() == Shop.model


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["none.gguf"], "no such file"),
        (["empty"], "is empty"),
        (["page.html"], "neither a GGUF file nor a llamafile"),
        (["--url", "file:///none/model.gguf"], "was not fetched"),
        (["--sha256"], "needs a value"),
        (["--sha256", "00", "none.gguf"], "no such file"),
        (["--speed"], "unknown option --speed"),
        (["a", "b"], "one FILE"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, arguments: list[str], reason: str) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "page.html").write_text("<html>")
    run = local_sh(tmp_path, *arguments)
    assert run.returncode == 1
    assert reason in run.stderr
    assert run.stdout == ""


def test_help_is_help(tmp_path: Path) -> None:
    run = local_sh(tmp_path, "--help")
    assert run.returncode == 0
    assert "--sha256" in run.stdout
