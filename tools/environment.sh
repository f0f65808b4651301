# Sourced by start.sh and test.sh: the virtual environment in .venv.

say() { printf '%s\n' "$*" >&2; }

find_python() {
    local python
    for python in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11 python; do
        if [ -n "$python" ] && "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s' "$python"
            return
        fi
    done
    say "Python 3.11 or newer is needed and was not found. Install it:"
    if command -v apt-get >/dev/null; then say "  sudo apt-get install python3 python3-venv"
    elif command -v dnf >/dev/null; then say "  sudo dnf install python3.11"
    elif command -v brew >/dev/null; then say "  brew install python@3.11"
    else say "  https://www.python.org/downloads/"; fi
    say "Or name one: PYTHON=/path/to/python3 $0"
    return 1
}

# make_environment STAMPED WHAT: installs WHAT (a pip requirement in this folder) unless STAMPED is as it was then.
make_environment() {
    local stamp=".venv/.installed$2" wanted python
    wanted="$(cksum <"$1")"
    if [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then return; fi
    if ! [ -x .venv/bin/python ]; then
        python="$(find_python)"
        say "Making a virtual environment in .venv ..."
        "$python" -m venv .venv || { say "On Debian and Ubuntu: sudo apt-get install python3-venv"; return 1; }
    fi
    say "Installing AgentOS and what it needs into .venv (a minute or two the first time) ..."
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable "$2"
    printf '%s' "$wanted" >"$stamp"
}
