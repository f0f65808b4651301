#!/usr/bin/env bash
# Installs AgentOS into .venv beside this script, when needed, and starts everything. `./start.sh --help` lists options.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source tools/environment.sh

make_environment pyproject.toml .
# exec: signals, SIGKILL too, hit agentos itself, which leaves nothing behind.
exec .venv/bin/agentos up "$@"
