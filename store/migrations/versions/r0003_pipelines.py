"""Pipelines, and which of them has a stage with a model: one at most."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

PIPELINES = """
create table pipelines (
    name text primary key,
    description text not null,
    updated_at timestamptz not null default now()
);
create table pipeline_models (
    model text primary key,
    pipeline text not null references pipelines on delete cascade
);
create index pipeline_models_pipeline on pipeline_models (pipeline);
"""


def upgrade() -> None:
    """Adds them."""
    op.execute(PIPELINES)
