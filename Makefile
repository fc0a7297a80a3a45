# Everything starts from here, with Python 3.11+ and make alone. `make help` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LOCK = $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate

.DEFAULT_GOAL := help
.PHONY: help setup demo test soak e2e lint types contracts docs format lock build clean

help: ## What there is
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

setup: $(READY) ## The environment in .venv, from the lock file

$(READY): requirements-dev.lock pyproject.toml
	@echo "setting up $(VENV) from requirements-dev.lock (about half a minute) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "basetracker needs Python 3.11 or newer, set PYTHON=python3.x")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(READY) ## The whole story on emulators: make demo ARGS="--scenario lacks-base --keep"
	@$(BIN)/basetracker demo $(ARGS)

test: $(READY) ## Every test that needs no root and no network
	@$(BIN)/pytest -q -n auto --dist loadfile $(ARGS)

soak: $(READY) ## A thousand stories under faults against a model: make soak ARGS="--seeds 100 --first 1"
	@$(BIN)/python -m tests.oracle.soak $(ARGS)

e2e: $(READY) ## The built wheel on a real control plane; KUBECONFIG=… on the command line takes your cluster
	@BASETRACKER_E2E=1 BASETRACKER_E2E_KUBECONFIG="$(if $(filter command line,$(origin KUBECONFIG)),$(KUBECONFIG))" \
		$(BIN)/pytest tests/e2e -v $(ARGS)

lint: $(READY) ## Format and lint
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: $(READY) ## mypy --strict
	@$(BIN)/mypy operator/basetracker

contracts: $(READY) ## Which floor may import which
	@$(BIN)/lint-imports

docs: $(READY) ## Write the generated reference pages anew
	@$(BIN)/python docs/generate.py $(ARGS)

format: $(READY) ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

build: $(READY) ## The wheel and the source distribution in dist/
	@$(BIN)/python -m build --no-isolation

lock: $(READY) ## Choose the pinned versions anew
	@$(LOCK) --upgrade pyproject.toml -o requirements.lock
	@$(LOCK) --upgrade pyproject.toml --extra demo --group dev -o requirements-dev.lock
	@echo 'hatchling>=1.27' | $(LOCK) --upgrade - -o requirements-build.lock

clean: ## Remove what was made here
	@rm -rf $(VENV) dist build .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
