#!/usr/bin/env bash
# Runs every check: style, types, tests on real parts. Arguments go to pytest: `./test.sh tests/core -x`.
# A real part that is missing skips its tests with a line that says so; with CI=true it fails them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source tools/environment.sh

# need COMMAND PACKAGE WHY: installs it where that needs no question, else names the command that does.
need() {
    command -v "$1" >/dev/null && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "Installing $2 ($3) ..."
        { apt-get install -qq -y --no-install-recommends "$2" || { apt-get update -qq && \
            apt-get install -qq -y --no-install-recommends "$2"; }; } >/dev/null 2>&1 || true
        command -v "$1" >/dev/null && return
    fi
    say "$1 is missing ($3). Debian and Ubuntu: sudo apt-get install $2; macOS: brew install ${4:-$2}"
    if [ "${CI:-}" = true ]; then return 1; fi
}

if [ -z "${PULSAR_URL:-}" ]; then
    need java openjdk-17-jre-headless "Apache Pulsar runs on it" openjdk@17
    if [ -z "${PULSAR_HOME:-}" ]; then need mvn maven "fetches Apache Pulsar"; fi
fi
need etcd etcd-server "the Kubernetes API server keeps its objects in it" etcd
need openssl openssl "makes the Kubernetes API server's key"
if ! ls "${XDG_CACHE_HOME:-$HOME/.cache}"/agentos/{kube-{apiserver,controller-manager,scheduler},kubectl,keda}-* >/dev/null 2>&1; then
    need go golang-go "builds Kubernetes' own programs, 1.24 or newer" go
fi
need npm npm "fetches the schema of AsyncAPI" node
need jo jo "ai.sh writes its request with it"
need curl curl "ai.sh asks with it"
make_environment pyproject.toml '.[test]'

bin=.venv/bin
"$bin/ruff" check .
"$bin/ruff" format --check .
"$bin/mypy"
# Here and not within a test's time limit: the first build takes minutes.
"$bin/python" -m tests.fixtures.kube_binaries || [ "${CI:-}" != true ]
exec "$bin/python" -m pytest -n 2 --dist loadgroup "$@"
