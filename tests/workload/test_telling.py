"""How a load goes, as others read it: TensorBoard's files, Prometheus, a terminal, lines."""

from __future__ import annotations

import os
import pty
import struct
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from core.errors import ConfigurationError
from workload.exposition import exposition
from workload.gateway_figures import StageFigures
from workload.liveview import LINE_SECONDS, LiveView
from workload.report import spread
from workload.snapshot import Snapshot
from workload.tensorboard import event_files

STAGE = StageFigures(waiting=7, outstanding=5, workers=3, batch_size=16, rate=12.5)
NOW = Snapshot(
    seconds=4.2,
    offered=100,
    ended={"on_time": 60, "late": 10, "dropped": 20},
    offered_per_second=25.0,
    goodput=0.75,
    dropped=0.125,
    latency=spread([0.5, 1.0]),
    stages={"embed": STAGE},
)
NOTHING = Snapshot(0.0, 0, {}, 0.0, None, None, None, {})


def crc32c(data: bytes) -> int:
    """RFC 3720, appendix B.4: polynomial 0x1EDC6F41, reflected."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def checked(data: bytes, masked: bytes) -> bytes:
    crc = crc32c(data)
    assert struct.unpack("<I", masked)[0] == (crc >> 15 | crc << 17) + 0xA282EAD8 & 0xFFFFFFFF
    return data


def records(file: bytes) -> Iterator[bytes]:
    """Those of a TFRecord file: length, its checksum, data, their checksum."""
    while file:
        (length,) = struct.unpack("<Q", checked(file[:8], file[8:12]))
        yield checked(file[12 : 12 + length], file[12 + length : 16 + length])
        file = file[16 + length :]


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Of a protobuf message: numbers, with what they hold."""

    def varint() -> int:
        nonlocal message
        value = shift = 0
        while True:
            byte, message = message[0], message[1:]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while message:
        number, kind = divmod(varint(), 8)
        if kind == 0:
            yield number, varint()
            continue
        size = {1: 8, 5: 4}[kind] if kind != 2 else varint()
        yield number, message[:size]
        message = message[size:]


def written(directory: Path) -> Iterator[tuple[int, str, float]]:
    """Step, tag and value of each scalar (event.proto: 2 the step, 5 the summary; summary.proto: 1 the value)."""
    (file,) = directory.iterdir()
    assert ".tfevents." in file.name
    first, *events = (dict(fields(record)) for record in records(file.read_bytes()))
    assert first[3] == b"brain.Event:2"
    for event in events:
        summary, step = event[5], event.get(2, 0)
        assert isinstance(summary, bytes)
        assert isinstance(step, int)
        for _, value in fields(summary):
            assert isinstance(value, bytes)
            scalar = dict(fields(value))
            tag, number = scalar[1], scalar.get(2, b"\0\0\0\0")
            assert isinstance(tag, bytes)
            assert isinstance(number, bytes)
            yield step, tag.decode(), struct.unpack("<f", number)[0]


def test_the_checksum_is_that_of_the_standard() -> None:
    assert crc32c(b"123456789") == 0xE3069283


def test_event_files_hold_every_figure_of_every_second(tmp_path: Path) -> None:
    with event_files(tmp_path / "new" / "run") as tell:
        tell(NOTHING)
        tell(NOW)
        tell(NOW._replace(seconds=5.1, goodput=0.5))
    found = list(written(tmp_path / "new" / "run"))
    assert {tag: value for step, tag, value in found if step == 4} == {
        "load/offered_per_second": 25,
        "load/open": 10,
        "load/goodput": 0.75,
        "load/goodput_so_far": pytest.approx(60 / 90),
        "load/drop_rate": 0.125,
        "load/latency_p50_seconds": 0.5,
        "load/latency_p99_seconds": 1.0,
        "stage_waiting/embed": 7,
        "stage_outstanding/embed": 5,
        "stage_batch_size/embed": 16,
        "stage_workers/embed": 3,
    }
    assert (5, "load/goodput", 0.5) in found
    assert {tag for step, tag, _ in found if step == 0} == {"load/offered_per_second", "load/open"}


def test_a_directory_that_cannot_be_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ConfigurationError, match="--tensorboard"), event_files(file / "below"):
        pass


def scraped(port: int) -> Mapping[tuple[str, ...], float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return {
            (sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples
        }


def test_prometheus_finds_the_last_figures_until_the_end() -> None:
    with exposition(0) as (port, take):
        assert scraped(port) == {}
        take(NOTHING)
        take(NOW)
        found = scraped(port)
    assert found["agentos_load_offered_total",] == 100
    assert found["agentos_load_ended_total", "late"] == 10
    assert found["agentos_load_goodput",] == 0.75
    assert found["agentos_load_stage_workers", "embed"] == 3
    with pytest.raises(OSError, match="refused"):
        scraped(port)


def test_a_port_that_is_taken_is_named() -> None:
    with exposition(0) as (port, _), pytest.raises(ConfigurationError, match=f"--metrics-port {port}"):
        exposition(port).__enter__()


def test_without_a_terminal_a_line_comes_from_time_to_time(capsys: pytest.CaptureFixture[str]) -> None:
    with LiveView("pipeline shop") as view:
        for second in range(1, 3 * round(LINE_SECONDS)):
            view(NOW._replace(seconds=float(second)))
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["5 s", "10 s"]
    for words in (
        "100 offered (25.0/s)",
        "10 open",
        "60 on time, 10 late, 20 dropped",
        "75.0%",
        "66.7%",
        "p99 1.000",
    ):
        assert words in lines[0]


def test_a_terminal_shows_the_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, other_end = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with open(other_end, "w") as end, open(terminal, "rb", buffering=0) as screen:
        monkeypatch.setattr("sys.stderr", end)
        with LiveView("pipeline shop") as view:
            view(NOTHING)
            view(NOW)
        end.flush()
        shown = os.read(screen.fileno(), 1 << 16).decode()
    for words in ("pipeline shop", "goodput", "66.7%", "75.0% of late", "p99 1.000 s", "embed", "12.5/s", "16"):
        assert words in shown
