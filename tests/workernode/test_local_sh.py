from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
from pathlib import Path

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
