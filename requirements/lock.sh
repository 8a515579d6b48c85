#!/usr/bin/env bash
# Writes requirements/cpu.txt and gpu.txt from pyproject.toml: `make lock`, or `make lock UPGRADE=1` for newer versions.
# Run it with Python 3.11 on Linux x86_64. Without UPGRADE every version already in the files stays where it still fits.
set -euo pipefail
cd "$(dirname "$0")/.."

UV_VERSION=0.13.9
tools=build/lock
if [[ $("$tools/bin/uv" --version 2>/dev/null) != "uv $UV_VERSION"* ]]; then
    "${PYTHON:-python3.11}" -m venv --clear "$tools"
    "$tools/bin/pip" install -qq --only-binary :all: "uv==$UV_VERSION"
fi

# uv has its own names for what pip is told; a local index or folder must offer torch==…+cpu, as for `make setup`.
[[ -z ${PIP_INDEX_URL:-} ]] || export UV_DEFAULT_INDEX=$PIP_INDEX_URL
[[ -z ${PIP_EXTRA_INDEX_URL:-} ]] || export UV_INDEX=$PIP_EXTRA_INDEX_URL
[[ -z ${PIP_FIND_LINKS:-} ]] || export UV_FIND_LINKS=$PIP_FIND_LINKS
export UV_INDEX_STRATEGY=unsafe-best-match # as pip: every index is asked for every package
export UV_CUSTOM_COMPILE_COMMAND="make lock"

compile() { # compile cpu|gpu [option…]
    "$tools/bin/uv" pip compile pyproject.toml --extra "$1" --extra dev --python-version 3.11 --generate-hashes \
        --only-binary :all: --quiet --output-file "requirements/$1.txt" "${@:2}" >/dev/null
}

compile cpu --excludes requirements/cpu-excluded.in ${UPGRADE:+--upgrade}
# The GPU's set starts from the CPU's versions and moves only what vLLM's CUDA build forces to move.
[[ -z ${UPGRADE:-} && -e requirements/gpu.txt ]] || cp requirements/cpu.txt requirements/gpu.txt
unset UV_INDEX UV_FIND_LINKS # else torch==2.13.0 is answered with the CPU build found there
compile gpu
