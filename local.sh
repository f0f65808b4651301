#!/bin/bash
# Prepares a model for a local worker. See --help.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
models=${XDG_CACHE_HOME:-$HOME/.cache}/agentos/models

usage() {
    cat <<'HELP'
usage: ./local.sh [--url URL] [--sha256 HEX] [FILE]

Prepares FILE, a GGUF file or a llamafile, for a local worker, and prints the settings to start one with.

  FILE          default: MODEL_FILE or AGENTOS_MODEL_FILE from the environment
  --url URL     fetch the model from URL into FILE (default: a cache folder); goes on where an earlier run stopped
  --sha256 HEX  refuse a model with another checksum
  --help        this text

Without FILE and --url it makes a tiny model with random weights: it answers nonsense, by a real llama.cpp.
HELP
}

fail() {
    printf 'local.sh: %s\n' "$1" >&2
    exit 1
}

fetch() { # URL FILE
    command -v curl >/dev/null || fail "curl is missing; install it, or fetch $1 yourself and give its FILE"
    mkdir -p -- "$(dirname -- "$2")"
    # A model that is not whole, or is another, never has the model's name. A whole one is not asked for again: servers
    # refuse to go on at its end.
    if [ ! -e "$2.whole" ]; then
        curl --fail --location --progress-bar --continue-at - --output "$2.part" -- "$1" ||
            fail "$1 was not fetched; run this again to go on"
        mv -- "$2.part" "$2.whole"
    fi
    if ! matches "$2.whole"; then
        rm -- "$2.whole"
        fail "$1: its SHA-256 is not $sha256; it was fetched whole, and removed"
    fi
    mv -- "$2.whole" "$2"
}

matches() { # FILE
    [ -z "$sha256" ] || [ "$(checksum "$1")" = "$(printf %s "$sha256" | tr A-F a-f)" ]
}

checksum() { # FILE
    if command -v sha256sum >/dev/null; then sha256sum <"$1"; else shasum -a 256 <"$1"; fi | cut -d ' ' -f 1
}

write_tiny_model() { # FILE
    local python=$root/.venv/bin/python
    [ -x "$python" ] || python=python3
    (cd -- "$root" && "$python" -c '
import sys
from pathlib import Path
from agentos.parts.tiny_model import write_tiny_model
write_tiny_model(Path(sys.argv[1]))' "$1") || fail "the tiny model was not written; has ./start.sh installed the project?"
    printf 'No model was given: this is a tiny one with random weights, and its answers are nonsense.\n' >&2
}

make_usable() { # FILE
    case $(head -c 4 -- "$1" | tr -d '\0') in
    GGUF) ;;
    MZ* | ?ELF) [ -x "$1" ] || chmod +x -- "$1" || fail "$1: cannot be made executable" ;;
    *) fail "$1: is neither a GGUF file nor a llamafile" ;;
    esac
}

url='' sha256='' file=''
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) usage && exit ;;
    --url | --sha256)
        [ $# -ge 2 ] || fail "$1 needs a value"
        if [ "$1" = --url ]; then url=$2; else sha256=$2; fi
        shift
        ;;
    -*) fail "unknown option $1; see ./local.sh --help" ;;
    *)
        [ -z "$file" ] || fail "one FILE, please; see ./local.sh --help"
        file=$1
        ;;
    esac
    shift
done
file=${file:-${MODEL_FILE:-${AGENTOS_MODEL_FILE:-}}}

if [ -n "$url" ]; then
    name=${url%%[?#]*}
    file=${file:-$models/${name##*/}}
    [ -e "$file" ] || fetch "$url" "$file"
elif [ -z "$file" ]; then
    file=$models/tiny.gguf
    write_tiny_model "$file"
fi
[ -f "$file" ] || fail "$file: no such file"
[ -s "$file" ] || fail "$file: is empty"
matches "$file" || fail "$file: its SHA-256 is not $sha256; remove the file and fetch it again"
make_usable "$file"
printf 'NODE_TYPE=local AGENTOS_MODEL_FILE=%q\n' "$(cd -- "$(dirname -- "$file")" && pwd)/$(basename -- "$file")"
