"""What `agentos profile` does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
import uvloop

from agentos.on_gateway import EXIT_FAILED, EXIT_INTERRUPTED
from agentos.printing import print_json, print_table
from agentos.profile import QUESTION, ProfileSettings, Row, measure, profile_of, row
from agentos.progress import Progress
from agentos.yaml_files import text_in, value_of
from core.errors import AgentOSError, ConfigurationError
from workernode.backends import make_backend
from workernode.batching.table import LARGEST


def run_profile(
    settings: ProfileSettings, *, body: Path | None, sizes: str, rounds: int, out: Path | None, as_json: bool
) -> int:
    """Returns the exit code: 1 where a call failed, 130 after Ctrl-C; what was measured before is told all the same.

    Raises `ConfigurationError`; `BackendUnavailable` or `PartError` where the backend does not start.
    """
    asked, wanted = _body(body, settings.model_name), _sizes(sizes)
    measured: dict[int, list[float]] = {}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(_measured(settings, asked, wanted, rounds, measured))
    rows = [row(size, seconds) for size, seconds in measured.items()]
    if rows:
        _tell(settings, rows, as_json=as_json)
    if rows and out is not None:
        out.write_text(_yaml(rows))
    return code


async def _measured(
    settings: ProfileSettings,
    body: Mapping[str, Any],
    wanted: Sequence[int],
    rounds: int,
    measured: dict[int, list[float]],
) -> int:
    progress, backend = Progress(), make_backend(settings)

    def hear(size: int, seconds: float) -> None:
        times = measured.setdefault(size, [])
        times.append(seconds)
        if progress.moves or len(times) == rounds:
            progress.step(f"batches of {size}: {len(times)} of {rounds}, the last one took {seconds:.3f} s")

    try:
        await backend.start()
        sizes = [size for size in wanted if size <= backend.slots]
        if len(sizes) < len(wanted):
            progress.say(f"this worker serves {backend.slots} at once (MAX_PROCESS_NUM): larger sizes are left out")
        await measure(backend, body, sizes, rounds, hear)
    except asyncio.CancelledError:
        return EXIT_INTERRUPTED
    except AgentOSError as error:
        if not measured:
            raise
        progress.say(f"agentos: {error}; what was measured before:")
        return EXIT_FAILED
    finally:
        progress.done()
        await backend.close()
    return 0


def _tell(settings: ProfileSettings, rows: Sequence[Row], *, as_json: bool) -> None:
    if as_json:
        told = [{**each._asdict(), "per_second": round(each.size / each.p50, 3)} for each in rows]
        print_json({"model": settings.model_name, "sizes": told, "profile": profile_of(rows)})
        return
    print_table(("SIZE", "BATCHES", "P50 S", "P95 S", "MAX S", "REQUESTS/S"), map(_cells, rows))
    typer.echo("\n" + _yaml(rows), nl=False)


def _cells(each: Row) -> tuple[str, ...]:
    times = (f"{seconds:.4f}" for seconds in (each.p50, each.p95, each.most))
    return (str(each.size), str(each.rounds), *times, f"{each.size / each.p50:.1f}")


def _yaml(rows: Sequence[Row]) -> str:
    return "profile:\n" + "".join(f"  {size}: {seconds}\n" for size, seconds in profile_of(rows).items())


def _sizes(text: str) -> list[int]:
    try:
        sizes = sorted({int(each) for each in text.split(",")})
    except ValueError:
        sizes = [0]
    if not 1 <= sizes[0] <= sizes[-1] <= LARGEST:
        raise ConfigurationError(f"--sizes: expected numbers from 1 to {LARGEST}, as in 1,2,4,8")
    return sizes


def _body(file: Path | None, model: str) -> dict[str, Any]:
    body = QUESTION if file is None else value_of(text_in(file), file)
    if not isinstance(body, dict):
        raise ConfigurationError(f"{file}: is no OpenAI request; it needs messages, a prompt or an input")
    return {"model": model, **body}
