#!/usr/bin/env bash
# Installs the reconciler of this very commit, with pinned and hashed dependencies, apart from whatever Python is there.
set -euo pipefail
source=$(cd "$(dirname "$0")/.." && pwd)
python -m venv "$RUNNER_TEMP/reconciler"
pip=("$RUNNER_TEMP/reconciler/bin/pip" --quiet --disable-pip-version-check)
"${pip[@]}" install --require-hashes --requirement "$source/requirements/action.txt"
"${pip[@]}" install --no-deps --no-build-isolation "$source"
echo "$RUNNER_TEMP/reconciler/bin" >> "$GITHUB_PATH"
