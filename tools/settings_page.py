"""Writes docs/settings.md from the settings classes: `python -m tools.settings_page`."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from agentos.up_settings import UpSettings
from coordinator.operator.settings import OperatorSettings
from coordinator.settings import CoordinatorSettings
from core.settings import Settings
from workernode.settings import WorkerSettings
from workload.settings import ClientSettings

PAGE = Path(__file__).parent.parent / "docs" / "settings.md"
HEAD = """# Settings

Made by `python -m tools.settings_page`. Each is read from the environment, or by its name in lower case (without
`AGENTOS_`) from a TOML file that `--config` or `AGENTOS_CONFIG` names; the environment wins. An empty variable is
unset. An unknown `AGENTOS_` variable or name in the file is refused with the nearest known one.
"""
PARTS: list[tuple[str, type[Settings]]] = [
    ("`agentos worker`, `WorkerNode.py`", WorkerSettings),
    ("`agentos coordinator`", CoordinatorSettings),
    ("`agentos operator`", OperatorSettings),
    ("`agentos up`, `start.sh`, `agentos scaler`", UpSettings),
    ("`agentos submit`, `tasks`, `task`, `cancel`, `users`, `load`, `synthetic`", ClientSettings),
]


def page() -> str:
    """The whole page."""
    return HEAD + "".join(f"\n## {title}\n\n{table(cls)}" for title, cls in PARTS)


def table(cls: type[Settings]) -> str:
    """The settings of one part."""
    rows = [
        f"| `{name}` | {default(cls.model_fields[field])} | {cls.model_fields[field].description} |\n"
        for name, field in cls.variables().items()
    ]
    return "| variable | default | meaning |\n| --- | --- | --- |\n" + "".join(rows)


def default(field: FieldInfo) -> str:
    """The default, for people."""
    value = field.default
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, SecretStr) or value in ("", None):
        return "–"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    PAGE.write_text(page())
