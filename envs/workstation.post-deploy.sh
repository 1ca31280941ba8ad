#!/usr/bin/env bash
# Snakemake runs it in the environment that conda has made of workstation.yaml, and makes that anew
# where the yaml or this file changes; so that it is made anew with the locks, too (`make lock`):
# build.lock and workstation.lock sha256 4ffe8f31d5bc2150
set -euo pipefail
python "$LLMPI_PROJECT/src/llmpi/device/install.py" "$LLMPI_PROJECT/envs/workstation.lock"
python -m pip install --quiet --no-build-isolation --no-deps --editable "$LLMPI_PROJECT"
