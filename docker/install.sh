#!/usr/bin/env bash
# Installs raypipe and its run-time part of requirements.lock into a virtual environment of its own; every package is
# checked against its hash. The image, the machines of cluster.yaml and `make check-deploy` all take these very steps.
#
#   docker/install.sh FOLDER [PYTHON]
set -euo pipefail

target=${1:?the folder of the virtual environment}
python=${2:-python3}
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
install() { "$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "${@:2}"; }

# hatchling builds the wheel; it stays out of what is installed.
"$python" "$here/docker/runtime_lock.py" >"$work/runtime.lock"
"$python" "$here/docker/runtime_lock.py" hatchling | grep -v '^#' >"$work/build.lock"

"$python" -m venv "$target"
install "$target" --require-hashes -r "$work/runtime.lock"

"$python" -m venv "$work/build"
install "$work/build" --require-hashes -r "$work/build.lock"
(cd "$here" && "$work/build/bin/python" -m hatchling build --target wheel --directory "$work")
install "$target" "$work"/raypipe_clickhouse-*.whl

"$target/bin/python" -m pip check --disable-pip-version-check
"$target/bin/raypipe" --version
