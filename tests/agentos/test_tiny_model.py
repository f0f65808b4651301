from __future__ import annotations

from pathlib import Path

import pytest
from gguf import GGUFReader

from agentos.parts.tiny_model import write_tiny_model


def test_the_model_is_the_same_every_time_and_nothing_else_is_left(tmp_path: Path) -> None:
    first, second = tmp_path / "new" / "a.gguf", tmp_path / "new" / "b.gguf"
    write_tiny_model(first)
    write_tiny_model(second)
    assert first.read_bytes() == second.read_bytes()
    assert sorted(tmp_path.rglob("*.*")) == [first, second]


def test_it_is_a_llama_of_320_tokens(tmp_path: Path) -> None:
    write_tiny_model(tmp_path / "m.gguf")
    reader = GGUFReader(tmp_path / "m.gguf")
    field = reader.get_field("general.architecture")
    assert field is not None
    assert field.contents() == "llama"
    shapes = {tensor.name: tuple(tensor.shape) for tensor in reader.tensors}
    assert shapes["token_embd.weight"] == (64, 320)


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        write_tiny_model(tmp_path / "file" / "m.gguf")
