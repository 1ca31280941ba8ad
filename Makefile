# On a fresh machine with Python >= 3.11, make and a C/C++ compiler:
#   make run    sets everything up and runs the demo to its report
#   make test   sets everything up and passes the tests

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONFIGS := $(filter-out config/sources.lock.yaml,$(wildcard config/*.yaml))
# dev has the device's packages and all others': each is resolved within it, and so they agree.
LOCKS := build serve workstation lm-eval cluster train docs
COMPILE = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-package llmpi --custom-compile-command "make lock"
TORCHS := $(addprefix --no-emit-package ,filelock fsspec jinja2 markupsafe mpmath networkx setuptools sympy typing-extensions)

# Where it is set, as images of containers have it, each of the thousands of processes of a test run
# would compile what it imports of ours.
export PYTHONDONTWRITEBYTECODE =

.DEFAULT_GOAL := help
.PHONY: help setup lm-eval cluster train run run-qat test test-fast test-long virtual-pi virtual-pi-chroot lint lint-types lint-code lint-workflow format docs docs-site lock clean

help:  ## Show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-17s %s\n", $$1, $$2}'

# What decides how the engine is built is the lock and the installer; a stamp is written last.
$(VENV)/.workstation: envs/build.lock envs/workstation.lock src/llmpi/device/install.py
	@test "$$(uname -s)" = Linux || { echo "llmpi needs Linux, this is $$(uname -s); on Windows WSL2 has it, on a Mac a virtual machine" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "llmpi needs Python 3.11 or later, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.12 ...")'
	@test -x $(BIN)/python || $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "llmpi needs $(PYTHON)'s venv; Debian, Ubuntu: sudo apt install python3-venv" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python src/llmpi/device/install.py envs/workstation.lock
	@$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps --editable .
	@touch $@

$(VENV)/.train: envs/train.lock envs/torch.txt envs/cuda.lock $(VENV)/.workstation
	@$(BIN)/python src/llmpi/device/install.py envs/train.lock
	$(torch)
	@touch $@

$(VENV)/.dev: envs/dev.lock envs/torch.txt envs/cuda.lock $(VENV)/.workstation
	@$(BIN)/python src/llmpi/device/install.py envs/dev.lock
	$(torch)
	@touch $@

$(VENV)/.lm-eval: envs/lm-eval.lock $(VENV)/.workstation
	@$(BIN)/python src/llmpi/device/install.py envs/lm-eval.lock
	@touch $@

$(VENV)/.docs: envs/docs.lock $(VENV)/.workstation
	@$(BIN)/python src/llmpi/device/install.py envs/docs.lock
	@touch $@

$(VENV)/.cluster: envs/cluster.lock $(VENV)/.workstation
	@$(BIN)/python src/llmpi/device/install.py envs/cluster.lock
	@touch $@

# The build for the CPU, and where pip finds none the package index's own with CUDA's libraries.
define torch
	@echo "llmpi: installing torch (some 200 MB; gigabytes where no build for the CPU alone is found)"
	@$(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement envs/torch.txt \
	  2>/dev/null || \
	  $(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement envs/cuda.lock
endef

setup: $(VENV)/.workstation  ## Make .venv with everything the workflow needs (compiles the engine)

lm-eval: $(VENV)/.lm-eval  ## Add lm-evaluation-harness, which tasks of the kind lm_eval need

cluster: $(VENV)/.cluster  ## Add what hands jobs to a Slurm cluster

train: $(VENV)/.train  ## Add torch and transformers, which conversion of safetensors needs

run: $(VENV)/.workstation  ## Run the demo study to results/report/demo/index.html
	@$(BIN)/snakemake --cores all

run-qat: $(VENV)/.train  ## Run the study of quantization-aware training (about half an hour)
	@$(BIN)/snakemake --cores all --configfile config/qat.yaml

# More at once than there are processors: all tests wait for something at times, those of
# integration for half of their time. Threads of an engine that wait for another's would take the
# processor from it if they did so busily. In alphabetical order the long files are in the middle.
# Pydantic would look through all packages for plugins of its own, in each process a tenth of what
# the import of our settings takes.
test: export OMP_WAIT_POLICY = passive
test: export PYDANTIC_DISABLE_PLUGINS = __all__
test: $(VENV)/.dev  ## Run the tests, but for those of test-long
	$(BIN)/python -m pytest --numprocesses 4 --dist worksteal tests/unit tests/workflow
	$(BIN)/python -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder --durations 20 tests/integration

test-fast: $(VENV)/.dev  ## Run the unit tests only
	$(BIN)/python -m pytest --numprocesses 4 --dist worksteal tests/unit

test-long: $(VENV)/.dev  ## Run what needs a booted board or a cross-built engine (root), and the rest of matrices, part by part
	$(BIN)/python tests/long_parts.py

virtual-pi: $(VENV)/.workstation  ## Run a whole virtual Raspberry Pi behind SSH, kernel and all (built once)
	PYTHONPATH=tests $(BIN)/python -m full_pi

virtual-pi-chroot: $(VENV)/.workstation  ## Run a quicker one: Debian 12's userland without a kernel (root)
	$(BIN)/python tests/virtual_pi.py

lint: $(VENV)/.dev  ## ruff, snakefmt, mypy, import contracts, snakemake --lint
	@$(MAKE) --no-print-directory --jobs 2 --output-sync lint-types lint-code lint-workflow

lint-types:
	$(BIN)/mypy
	$(BIN)/mypy --config-file tests/mypy.ini

lint-code:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/lint-imports

lint-workflow:
	$(BIN)/python tests/lint_workflow.py $(CONFIGS)

format: $(VENV)/.dev  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile rules

docs: $(VENV)/.workstation  ## Write config/README.md, config/schema.json, docs/summary.md, docs/records.md, README.md's tables anew
	$(BIN)/python -m llmpi.study.reference
	$(BIN)/python -m llmpi.summary.columns
	$(BIN)/python -m llmpi.record_reference
	$(BIN)/python tests/readme_demo.py
	$(BIN)/python tests/readme_fits.py

docs-site: $(VENV)/.docs  ## Build the documents as a site: site/docs/index.html
	@$(BIN)/sphinx-build -W --keep-going -q -c docs -d .cache/docs-site . site

lock: $(VENV)/.dev  ## Resolve envs/*.lock anew from pyproject.toml
	$(BIN)/$(COMPILE) --extra device pyproject.toml --output-file envs/device.lock
	$(BIN)/$(COMPILE) --extra dev pyproject.toml --constraints envs/device.lock \
	  --output-file envs/dev.lock
	for extra in $(LOCKS); do $(BIN)/$(COMPILE) --extra $$extra pyproject.toml \
	  --constraints envs/dev.lock --output-file envs/$$extra.lock || exit 1; done
	sed -n 's/^\(torch==[0-9.]*\).*/\1/p' envs/torch.txt | $(BIN)/$(COMPILE) - \
	  --constraints envs/dev.lock $(TORCHS) --output-file envs/cuda.lock
	hash=$$(cat envs/build.lock envs/workstation.lock | sha256sum | cut -c 1-16) && \
	  sed -i "s/lock sha256 .*/lock sha256 $$hash/" envs/workstation.post-deploy.sh

clean:  ## Remove results, logs and caches; keeps .venv (remove it with: rm -r .venv)
	rm -rf results logs site .snakemake .pytest_cache .mypy_cache .ruff_cache .hypothesis .cache/test-long .cache/docs-site
