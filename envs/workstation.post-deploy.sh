#!/usr/bin/env bash
# Snakemake runs it in the environment that conda has made of workstation.yaml.
set -euo pipefail
python "$LLMPI_PROJECT/src/llmpi/device/install.py" "$LLMPI_PROJECT/envs/workstation.lock"
python -m pip install --quiet --no-build-isolation --no-deps --editable "$LLMPI_PROJECT"
