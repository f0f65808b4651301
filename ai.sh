#!/usr/bin/env bash
# Asks the running AgentOS one question: `./ai.sh` for a plain answer, `./ai.sh stream` for a streamed one.
# PORT (8081) and MODEL (mock) change whom it asks.
set -euo pipefail

if ! command -v jo >/dev/null; then
    if command -v apt-get >/dev/null; then install="sudo apt-get install jo"
    elif command -v dnf >/dev/null; then install="sudo dnf install jo"
    elif command -v apk >/dev/null; then install="apk add jo"
    elif command -v brew >/dev/null; then install="brew install jo"
    else install="winget install jo"; fi
    printf 'jo is needed to write the request. Install it: %s\n' "$install" >&2
    exit 1
fi

stream=false
case "${1:-}" in
    "") ;;
    stream) stream=true ;;
    *) printf 'usage: %s [stream]\n' "$0" >&2; exit 2 ;;
esac

message="$(jo role=user content="Say hello.")"
request="$(jo model="${MODEL:-mock}" stream="$stream" messages="$(jo -a "$message")")"

curl -v --no-buffer --fail-with-body \
    -H 'Content-Type: application/json' \
    -d "$request" \
    "http://127.0.0.1:${PORT:-8081}/api/v1/chat/completions"
printf '\n'
